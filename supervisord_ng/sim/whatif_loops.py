"""What a crash loop of each worker would take down: the question that `sng simulate` answers unasked.

Each worker in turn, in a fresh copy of the tree, dies as soon as it runs, again and again, until the root has
ended, the worker stays down, or the situation is one that has been there before: then it goes on like that
for ever. Back-offs take their shortest time, so what never reaches the top here never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from supervisord_ng import limits
from supervisord_ng.core.backoff import delay_ns
from supervisord_ng.core.events import Call
from supervisord_ng.core.state import ChildState, Phase
from supervisord_ng.model import names
from supervisord_ng.model.reports import Event, EventName
from supervisord_ng.model.spec import Backoff, ChildSpec, Strategy, SupervisorSpec, WorkerSpec
from supervisord_ng.sim.whatif import Act, Fault, Line, Pretend

_GIVING_UP = (
    "a supervisor gives up when it would have to restart more often than it may (its intensity); it"
    " stops its children and ends, and the supervisor above decides what becomes of it"
)
ASSUMED = (
    "in a crash loop a worker dies as soon as it runs; back-offs are as short as their jitter allows",
    _GIVING_UP,
)


class Outcome(StrEnum):
    """How the loop ends, or that it does not."""

    DOWN = "down"  # the root has ended
    FOR_EVER = "for_ever"
    STAYS_DOWN = "stays_down"  # it, or a supervisor above it, is not restarted
    NOT_RUNNING = "not_running"  # it does not run when the tree is up
    UNDECIDED = "undecided"  # a bound was reached


class Restarted(msgspec.Struct, frozen=True):
    """A supervisor restarted one of its children: its restart `number` of at most `intensity` in the period."""

    path: str
    number: int
    intensity: int | None
    period_s: float


class Round(msgspec.Struct, frozen=True):
    """What followed one crash. `also` are the other workers that were stopped or started."""

    crash: int
    time_s: float
    gave_up: tuple[str, ...] = ()
    restarted: Restarted | None = None
    also: tuple[str, ...] = ()


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's crash loop. Times are seconds since its first crash.

    `alike` are instances of the same worker, to whom the same happens. `repeats_s` and `repeats_crashes`:
    in what time, after how many crashes everything is as it was before. `life_s`: the longest that the worker
    may run before each of its crashes to bring the root down all the same; None where that is not the outcome,
    or does not depend on it. `by_hand`: it is not started by itself, so it was started as an operator does.
    """

    path: str
    alike: tuple[str, ...]
    one_shot: bool
    by_hand: bool
    outcome: Outcome
    crashes: int
    took_s: float
    rounds: tuple[Round, ...]
    repeats_s: float | None = None
    repeats_crashes: int | None = None
    life_s: float | None = None


class Findings(msgspec.Struct, frozen=True):
    """All loops, most surprising first, and the workers that were not looked at because of a bound."""

    loops: tuple[Loop, ...]
    left_out: tuple[str, ...] = ()


def explore(spec: SupervisorSpec, node: str, for_ns: int | None = None) -> Findings:
    """Let each worker crash in a loop.

    Args:
        spec: the tree.
        node: its name.
        for_ns: how long to look at each of them, None for as long as it takes.
    """
    spec = _shortest(spec)
    explorer = _Explorer(spec, node, for_ns)
    loops: list[Loop] = []
    left_out: list[str] = []
    for path, worker, alike in _workers(spec, spec.name):
        if explorer.is_exhausted:
            left_out += [path, *alike]
        else:
            loops.append(explorer.loop(path, worker, alike))
    return Findings(tuple(sorted(loops, key=_surprise)), tuple(left_out))


class _Explorer:
    """Plays crash loops in copies of one tree, within one bound for all."""

    def __init__(self, spec: SupervisorSpec, node: str, for_ns: int | None) -> None:
        self._spec = spec
        self._node = node
        self._for_ns = for_ns
        self._up = Pretend(spec, node, hear=_ignore)
        self._up.run(None, limits.WHATIF_STEPS_MAX)
        self._steps = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether the bound is reached, or the tree does not even come up within it."""
        return self._steps > limits.WHATIF_STEPS_MAX or not self._up.is_settled()

    def loop(self, path: str, worker: WorkerSpec, alike: tuple[str, ...]) -> Loop:
        """The crash loop of one worker, and how slow it may be to come to the same end."""
        loop = self._play(path, worker, alike, life_ns=0)
        longest = self._bound_ns(loop)
        if longest is None:
            return loop
        if self._is_down(loop, worker, longest):
            return replace(loop, life_s=longest / limits.SECOND)
        low, high = 0, longest
        for _ in range(_HALVINGS):
            middle = (low + high) // 2
            low, high = (middle, high) if self._is_down(loop, worker, middle) else (low, middle)
        return replace(loop, life_s=low / limits.SECOND)

    def _bound_ns(self, loop: Loop) -> int | None:
        """A run time beyond which the worker can not take everything down; None where that says nothing.

        A supervisor gives up when intensity + 1 restarts lie within its period, so `intensity` intervals
        between them do. For its parent each of these restarts took intensity + 1 crashes, and so on.
        """
        chain = loop.rounds[-1].gave_up if loop.outcome is Outcome.DOWN else ()
        below, crashes, bound_ns = loop.path, 1, None
        for path in chain:
            if path != names.parent(below):
                return None
            spec = self._up.state.supervisors[path].spec
            assert spec.intensity is not None, "gave up without a limit"
            if spec.intensity:
                most_ns = spec.period_ns // (spec.intensity * crashes)
                bound_ns = most_ns if bound_ns is None else min(bound_ns, most_ns)
            crashes *= spec.intensity + 1
            below = path
        return bound_ns

    def _is_down(self, loop: Loop, worker: WorkerSpec, life_ns: int) -> bool:
        again = self._play(loop.path, worker, loop.alike, life_ns)
        return again.outcome is Outcome.DOWN

    def _play(self, path: str, worker: WorkerSpec, alike: tuple[str, ...], life_ns: int) -> Loop:
        watch = _Watch(path)
        pretend = self._begin(path, worker, watch, life_ns)
        loop = watch.follow(pretend, worker, alike, self._for_ns)
        self._steps += pretend.steps
        return loop

    def _begin(self, path: str, worker: WorkerSpec, watch: _Watch, life_ns: int) -> Pretend:
        """A copy of the tree in which the loop of this worker is about to begin."""
        if worker.ready.kind == "exit":  # it is over when the tree is up
            return Pretend(self._spec, self._node, hear=watch.hear, crashing=path, life_ns=life_ns)
        pretend = self._up.fork(watch.hear, path, life_ns)
        if not worker.autostart:
            call = Call(names.parent(path), 1, "restart_child", worker.name, now=True)
            pretend.plan(0, call)
        elif pretend.is_running(path):
            pretend.plan(0, Fault(Act.KILL, path))
        return pretend


class _Watch:
    """Makes rounds out of the events of one loop."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._rounds: list[Round] = []
        self._first: float = 0.0
        self._seen: dict[object, Round] = {}

    def hear(self, line: Line) -> None:
        """Something has happened."""
        if not isinstance(line, Event):
            return
        mine = line.path == self._path
        if mine and line.event in (EventName.CRASHED, EventName.START_FAILED):
            self._first = self._first if self._rounds else line.time
            self._rounds.append(Round(len(self._rounds) + 1, _since(self._first, line.time)))
        elif self._rounds:
            self._rounds[-1] = _with(self._rounds[-1], line, mine=mine)

    def follow(
        self, pretend: Pretend, worker: WorkerSpec, alike: tuple[str, ...], for_ns: int | None
    ) -> Loop:
        """Let it crash until the outcome is known."""
        until = None if for_ns is None else pretend.now + for_ns
        before = None
        while pretend.halted is None and before is None and not pretend.is_settled():
            at = pretend.next_at()
            late = until is not None and at is not None and at > until
            if late or pretend.steps > limits.WHATIF_LOOP_STEPS_MAX:
                break
            known = len(self._rounds)
            pretend.next()
            if len(self._rounds) > known:
                situation = _situation(pretend, self._path)
                before = self._seen.get(situation)
                self._seen[situation] = self._rounds[-1]
        return self._loop(pretend, worker, alike, before)

    def _loop(
        self, pretend: Pretend, worker: WorkerSpec, alike: tuple[str, ...], before: Round | None
    ) -> Loop:
        last = self._rounds[-1] if self._rounds else Round(0, 0.0)
        if pretend.halted is not None:
            outcome = Outcome.DOWN
        elif before is not None:
            outcome = Outcome.FOR_EVER
        elif not pretend.is_settled():
            outcome = Outcome.UNDECIDED
        else:
            outcome = Outcome.STAYS_DOWN if self._rounds else Outcome.NOT_RUNNING
        return Loop(
            path=self._path,
            alike=alike,
            one_shot=worker.ready.kind == "exit",
            by_hand=not worker.autostart,
            outcome=outcome,
            crashes=last.crash,
            took_s=last.time_s,
            rounds=tuple(self._rounds if before is None else self._rounds[:-1]),
            repeats_s=None if before is None else _since(before.time_s, last.time_s),
            repeats_crashes=None if before is None else last.crash - before.crash,
        )


def _with(round_: Round, event: Event, *, mine: bool) -> Round:
    """A round to which one more event belongs."""
    if event.event is EventName.GAVE_UP and event.path is not None:
        return replace(round_, gave_up=(*round_.gave_up, event.path))
    if event.event is EventName.RESTARTING and event.path is not None:
        assert event.restarts_in_window is not None
        assert event.period_s is not None
        number, limit = event.restarts_in_window, event.intensity
        return replace(round_, restarted=Restarted(event.path, number, limit, event.period_s))
    touched = event.event in (EventName.STOPPED, EventName.STARTED) and event.kind == "worker"
    if touched and not mine and event.path is not None and event.path not in round_.also:
        return replace(round_, also=(*round_.also, event.path))
    return round_


def _since(before: float, now: float) -> float:
    return round(now - before, _DIGITS)


def _situation(pretend: Pretend, path: str) -> object:
    """All that decides how the loop goes on, without what only counts up: times are ages, numbers are left out.

    Nobody else fails, so the supervisors above the worker and the records on the way down to it say it all.
    """
    now = pretend.now
    found: list[object] = []
    above = path
    while above := names.parent(above):
        supervisor = pretend.state.supervisors.get(above)
        if supervisor is None:
            continue
        spec = supervisor.spec
        ages = [now - then for then in supervisor.restarts if now - then <= spec.period_ns]
        found.append(
            (
                (supervisor.alive, supervisor.booted, supervisor.plan),
                () if spec.intensity is None else tuple(ages),
                tuple((type(m), getattr(m, "name", "")) for m in supervisor.mailbox),
                tuple(_record(child, now) for child in _on_the_way(supervisor.children, path)),
            )
        )
    return tuple(found)


def _on_the_way(children: dict[str, ChildState], path: str) -> list[ChildState]:
    return [child for child in children.values() if f"{path}/".startswith(f"{child.path}/")]


def _record(child: ChildState, now: int) -> object:
    backoff = child.spec.backoff if isinstance(child.spec, WorkerSpec) else None
    waits = child.deadline is not None and child.phase is not Phase.RUNNING
    left = child.deadline - now if waits and child.deadline is not None else None
    return (
        (child.standing, child.phase, child.idle, child.asked, child.counted),
        (left, delay_ns(backoff, child.tries, 0.5)),
    )


def _workers(spec: SupervisorSpec, path: str) -> Iterator[tuple[str, WorkerSpec, tuple[str, ...]]]:
    """Each worker below, in tree order; instances that are interchangeable once, with the others beside it."""
    together = spec.strategy is not Strategy.REST_FOR_ONE
    done: set[str] = set()
    for child in spec.children:
        child_path = names.join(path, child.name)
        if isinstance(child, SupervisorSpec):
            yield from _workers(child, child_path)
        elif isinstance(child, WorkerSpec) and child.name not in done:
            alike = [
                other.name
                for other in spec.children
                if together and child.instance is not None and _is_instance(other, child)
            ]
            done.update(alike)
            yield child_path, child, tuple(names.join(path, name) for name in alike)


def _is_instance(other: ChildSpec, worker: WorkerSpec) -> bool:
    same = names.base_name(other.name) == names.base_name(worker.name)
    return same and isinstance(other, WorkerSpec) and other.name != worker.name


def _shortest(spec: SupervisorSpec) -> SupervisorSpec:
    """The same tree with every back-off as short as its jitter allows."""
    return replace(spec, children=tuple(_short(child) for child in spec.children))


def _short(child: ChildSpec) -> ChildSpec:
    if isinstance(child, SupervisorSpec):
        return _shortest(child)
    if isinstance(child, WorkerSpec) and child.backoff is not None:
        return replace(child, backoff=_without_jitter(child.backoff))
    return child


def _without_jitter(backoff: Backoff) -> Backoff:
    part = 1 - backoff.jitter
    initial_ns, max_ns = round(backoff.initial_ns * part), round(backoff.max_ns * part)
    return replace(backoff, initial_ns=initial_ns, max_ns=max_ns, jitter=0.0)


_HALVINGS = 8  # finds the run time to less than a hundredth
_DIGITS = 9  # of seconds: what comes of nanoseconds
_RANKS = [
    Outcome.UNDECIDED,
    Outcome.FOR_EVER,
    Outcome.DOWN,
    Outcome.STAYS_DOWN,
    Outcome.NOT_RUNNING,
]


def _surprise(loop: Loop) -> tuple[int, bool, float, int]:
    """What never comes to an end first, before all where somebody gives up in vain; then the slowest."""
    in_vain = any(round_.gave_up for round_ in loop.rounds)
    return _RANKS.index(loop.outcome), not in_vain, -loop.took_s, loop.crashes


def _ignore(_: Line) -> None:
    """Nobody asks how the tree came up."""
