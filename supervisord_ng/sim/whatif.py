"""A pretend world in which nothing goes wrong but what the user asks for.

The core decides, time is virtual, nothing is drawn by chance but the jitter of back-offs, from the seed.
`ASSUMED` says what the pretend workers do. That everything takes no time makes the times that come out the
shortest possible ones: they are waits, of back-offs, heartbeats and stops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from copy import copy
from enum import StrEnum
from typing import Self

import msgspec

from supervisord_ng import limits
from supervisord_ng.core import effects, events, machine, view
from supervisord_ng.core.notes import event_of
from supervisord_ng.core.state import ChildState, NodeState, Phase
from supervisord_ng.model import names
from supervisord_ng.model.exits import LIVENESS, SIGKILL, ExitStatus
from supervisord_ng.model.reports import Event
from supervisord_ng.model.spec import SupervisorSpec, WorkerSpec
from supervisord_ng.model.status import Row
from supervisord_ng.sim.agenda import Agenda

ASSUMED = (
    'every start succeeds; a worker is ready at once, a one-shot (ready = "exit") is done at once',
    "a worker that is asked to stop does so at once; one that hangs reacts to nothing but SIGKILL",
    "beats are never late; nothing takes time but what is waited for: back-off, heartbeat, shutdown",
)


class Act(StrEnum):
    """What a user may do to a worker."""

    KILL = "kill"
    HANG = "hang"


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """Something was done to a worker at `time`, in seconds.

    `struck` is False when there was nobody to do it to. `noticed_s`: when a hang will be found, in seconds
    of the same clock, None for never.
    """

    time: float
    act: Act
    path: str
    struck: bool = True
    noticed_s: float | None = None


class Fault(msgspec.Struct, frozen=True):
    """Do this to the worker at `path`, whichever incarnation runs then."""

    act: Act
    path: str


class _Ending(msgspec.Struct, frozen=True):
    """This incarnation ends by itself, if it is still there."""

    path: str
    incarnation: int
    how: ExitStatus


Line = Event | Deed
Planned = Fault | _Ending | events.Event


class Pretend:
    """One node in the pretend world, from its boot on. Times are nanoseconds after it.

    Args:
        spec: the tree.
        node: its name.
        seed: of the jitter.
        hear: told everything that happens, in order.
        crashing: path of a worker that dies by SIGKILL as soon as all is done that happens when it is started.
            A one-shot dies before it is done.
        life_ns: how long that worker runs each time before it dies.

    Attributes:
        state: of the core.
        steps: how many the core has made.
        halted: the core's last word, when the root has ended.
    """

    def __init__(
        self,
        spec: SupervisorSpec,
        node: str,
        *,
        seed: int = 0,
        hear: Callable[[Line], None],
        crashing: str | None = None,
        life_ns: int = 0,
    ) -> None:
        self.steps = 1
        self.halted: effects.Halt | None = None
        self._node = node
        self._hear = hear
        self._crashing = crashing
        self._life_ns = life_ns
        self._agenda: Agenda[Planned] = Agenda(0)
        self._alive: dict[str, int] = {}  # path -> incarnation
        self._hung: set[str] = set()
        self._answers: deque[events.Event] = deque()
        self._told = 0
        self.state: NodeState
        self.state, asked = machine.boot(spec, seed=seed, now=0)
        self._carry_out(asked)
        self._answer()

    def fork(self, hear: Callable[[Line], None], crashing: str, life_ns: int) -> Self:
        """Another node in the very same situation, with nothing planned. Requires that it is settled.

        See the arguments of the class.
        """
        assert self.is_settled(), "something is under way"
        other = copy(self)
        other.steps = 0
        other._hear = hear  # noqa: SLF001 - it is one of us
        other._crashing = crashing  # noqa: SLF001
        other._life_ns = life_ns  # noqa: SLF001
        other._agenda = Agenda(self.now)  # noqa: SLF001
        other._alive = dict(self._alive)  # noqa: SLF001
        other._hung = set(self._hung)  # noqa: SLF001
        other._answers = deque()  # noqa: SLF001
        return other

    @property
    def now(self) -> int:
        """Nanoseconds since the boot."""
        return self._agenda.now

    def rows(self) -> tuple[Row, ...]:
        """The tree as ``status`` shows it, without the pids that nobody has here."""
        rows = view.rows(self.state, self.now)
        return tuple(msgspec.structs.replace(row, pid=None) for row in rows)

    def plan(self, delay_ns: int, what: Fault | events.Event) -> None:
        """Let something happen `delay_ns` from now."""
        self._agenda.after(delay_ns, what)

    @property
    def hanging(self) -> tuple[str, ...]:
        """The workers that hang and have not been found."""
        return tuple(sorted(self._hung))

    def is_running(self, path: str) -> bool:
        """Whether the worker at `path` has a process, and has not been told to end."""
        return path in self._alive

    # --- time ------------------------------------------------------------------------------------
    def run(self, until_ns: int | None, steps_max: int) -> None:
        """Go on until nothing is left to happen, the root has ended, or one of the bounds is reached."""
        while self.steps < steps_max and self.halted is None and not self.is_settled():
            upcoming = self.next_at()
            assert upcoming is not None, "settled and not settled"
            if until_ns is not None and upcoming > until_ns:
                self._agenda.pass_to(until_ns)
                return
            self.next()

    def is_settled(self) -> bool:
        """Whether nothing will happen any more but beats."""
        if self._agenda.next_at() is not None:
            return False
        return all(self._is_beating(child) for child in self._with_deadline())

    def next_at(self) -> int | None:
        """When the next thing happens, if ever."""
        times = (self._agenda.next_at(), machine.next_deadline(self.state))
        return min((at for at in times if at is not None), default=None)

    def next(self) -> None:
        """Let the next thing happen. Requires that there is one."""
        due = self._agenda.next_at()
        deadline = machine.next_deadline(self.state)
        if deadline is None or (due is not None and due < deadline):
            self._take(self._agenda.take())
            return
        self._agenda.pass_to(deadline)
        # A worker in good health never lets its deadline pass: it beats just before it.
        late = [child for child in self._with_deadline() if child.deadline == deadline]
        beating = [child for child in late if self._is_beating(child)]
        self._feed(_beats(beating) if beating else events.Tick())

    def _with_deadline(self) -> Iterable[ChildState]:
        return (
            child
            for supervisor in self.state.supervisors.values()
            if supervisor.deadline is not None
            for child in supervisor.children.values()
            if child.deadline is not None
        )

    def _is_beating(self, child: ChildState) -> bool:
        return child.phase is Phase.RUNNING and child.path not in self._hung

    # --- what happens ----------------------------------------------------------------------------
    def _take(self, item: Planned) -> None:
        if isinstance(item, Fault):
            self._strike(item)
        elif isinstance(item, _Ending):
            if item.path == self._crashing and self._agenda.next_at() == self.now:
                self._agenda.soon(item)  # whoever is started beside it comes up first
            else:
                self._end(item.path, item.incarnation, item.how)
        else:
            self._feed(item)

    def _strike(self, fault: Fault) -> None:
        path = fault.path
        struck = path in self._alive
        deed = Deed(time=self._seconds(), act=fault.act, path=path, struck=struck)
        if not struck:
            self._hear(deed)
        elif fault.act is Act.KILL:
            self._hear(deed)
            self._end(path, self._alive[path], ExitStatus(signal=SIGKILL))
        else:
            self._hang(deed)

    def _hang(self, deed: Deed) -> None:
        """It beat and answered its probe just now, for the last time."""
        if deed.path not in self._hung:
            self._feed(_beats([self._child(deed.path)]))
        child = self._child(deed.path)
        found = [] if child.deadline is None else [child.deadline]
        liveness = child.spec.liveness if isinstance(child.spec, WorkerSpec) else None
        if liveness is not None and deed.path not in self._hung:
            silence_ns = liveness.failures * liveness.interval_ns + liveness.timeout_ns
            self.plan(silence_ns, events.Unresponsive(child.path, child.incarnation, LIVENESS))
            found.append(self.now + silence_ns)
        self._hung.add(deed.path)
        noticed = min(found) / limits.SECOND if found else None
        self._hear(msgspec.structs.replace(deed, noticed_s=noticed))

    def _end(self, path: str, incarnation: int, how: ExitStatus) -> None:
        """A worker is gone, which is seen in a moment."""
        if self._alive.get(path) == incarnation:
            del self._alive[path]
            self._hung.discard(path)
            self._agenda.soon(events.Exited(path, incarnation, how))

    def _feed(self, event: events.Event) -> None:
        """One event, and the answers to what the core asks for, which come before all others."""
        self._answers.append(event)
        self._answer()

    def _answer(self) -> None:
        while self._answers:
            self.steps += 1
            self.state, asked = machine.step(self.state, self._answers.popleft(), self.now)
            self._carry_out(asked)

    # --- effects ---------------------------------------------------------------------------------
    def _carry_out(self, asked: tuple[effects.Effect, ...]) -> None:
        for effect in asked:
            match effect:
                case effects.Spawn():
                    self._spawn(effect)
                case effects.AskStop(path=path, incarnation=incarnation, signal=number):
                    if path not in self._hung:
                        self._end(path, incarnation, ExitStatus(signal=number))
                case effects.Kill(path=path, incarnation=incarnation):
                    self._end(path, incarnation, ExitStatus(signal=SIGKILL))
                case effects.Note():
                    self._say(effect)
                case effects.Halt():
                    self.halted = effect
                case _:
                    pass  # reports have notes beside them; a worker that hangs sends no stacks

    def _spawn(self, effect: effects.Spawn) -> None:
        path, incarnation = effect.path, effect.incarnation
        self._alive[path] = incarnation
        self._answers.append(events.Spawned(path, incarnation, pid=1))
        is_one_shot = effect.spec.ready.kind == "exit"
        if not is_one_shot and effect.spec.ready.kind != "exec":
            self._agenda.soon(events.BecameReady(path, incarnation))
        if path == self._crashing:
            end = _Ending(path, incarnation, ExitStatus(signal=SIGKILL))
            self._agenda.after(self._life_ns, end)
        elif is_one_shot:
            self._agenda.soon(_Ending(path, incarnation, ExitStatus(code=0)))

    def _say(self, note: effects.Note) -> None:
        self._told += 1
        at = self._seconds()
        self._hear(event_of(note, seq=self._told, time=at, node=self._node, pid=None))

    def _seconds(self) -> float:
        return self.now / limits.SECOND

    def _child(self, path: str) -> ChildState:
        return self.state.supervisors[names.parent(path)].children[names.leaf(path)]


class End(StrEnum):
    """Why a story is over."""

    SETTLED = "settled"  # nothing more will happen
    HALTED = "halted"  # the root has ended
    TIME = "time"  # nobody wanted to know how it goes on
    BOUND = "bound"  # too many steps


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, until when, why no longer, and how everyone is then.

    `reason` and `chain` say why the root has ended.
    """

    lines: tuple[Line, ...]
    time_s: float
    end: End
    children: tuple[Row, ...]
    reason: str | None = None
    chain: tuple[str, ...] = ()
    hanging: tuple[str, ...] = ()  # found by nobody


def play(
    spec: SupervisorSpec,
    node: str,
    faults: Iterable[tuple[int, Fault]],
    *,
    seed: int = 0,
    for_ns: int | None = None,
) -> Story:
    """Start a tree, let these faults happen, and see what comes of it.

    Args:
        spec: the tree.
        node: its name.
        faults: each with its time in nanoseconds after the boot.
        seed: of the jitter.
        for_ns: how long to look, None until nothing more will happen.
    """
    lines: list[Line] = []
    pretend = Pretend(spec, node, seed=seed, hear=lines.append)
    for at, fault in faults:
        pretend.plan(at, fault)
    pretend.run(for_ns, limits.WHATIF_STEPS_MAX)
    halt = pretend.halted
    if halt is not None:
        end = End.HALTED
    elif pretend.is_settled():
        end = End.SETTLED
    else:
        end = End.BOUND if pretend.steps >= limits.WHATIF_STEPS_MAX else End.TIME
    return Story(
        lines=tuple(lines),
        time_s=pretend.now / limits.SECOND,
        end=end,
        children=pretend.rows(),
        reason=None if halt is None else halt.reason.text,
        chain=() if halt is None else halt.chain,
        hanging=pretend.hanging,
    )


def _beats(children: list[ChildState]) -> events.Beats:
    return events.Beats(tuple(events.Beat(child.path, child.incarnation) for child in children))


def rows(spec: SupervisorSpec) -> tuple[Row, ...]:
    """The rows of a tree, to find in them what a PATH names."""
    return Pretend(spec, "", hear=lambda _: None).rows()
