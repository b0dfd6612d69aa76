"""A node in a world that answers at once, for telling incidents to the core.

    node = Node(supervisor("root", worker("a"), worker("b"), strategy="one_for_all"))
    node.exits("root/a", BOOM)
    assert ["exit root/a#1: boom", "report ...", "ask root/b#1", ...] == node.told()

Unless told otherwise a worker starts when it is spawned, ends when it is asked, and dies when it is killed,
all without delay. Each thing that happens or is asked for is one line; `told` returns those since it was
called last. ``root/a#2`` is incarnation 2 of ``root/a``. After every step the invariants are checked. The
node knows nothing of what is right: that is for the tests, and for `model`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import msgspec

from supervisord_ng.config.units import parse_duration
from supervisord_ng.core import effects, events, invariants, memory
from supervisord_ng.core.machine import boot, next_deadline, resume, step
from supervisord_ng.core.view import rows
from supervisord_ng.limits import SECOND
from supervisord_ng.model import names
from supervisord_ng.model.exits import SHUTDOWN, SIGKILL, ExitReason, ExitStatus, status_text
from supervisord_ng.model.spec import SupervisorSpec
from supervisord_ng.model.status import Row
from tests.core.lines import describe
from tests.core.trees import BOOM, NOPE, End, supervisor, walk, worker

__all__ = ["BOOM", "NOPE", "End", "Node", "supervisor", "walk", "worker"]


@dataclass
class Process:
    """A worker as it really is: its main process, and what else it has started."""

    incarnation: int
    main: bool = True
    rest: bool = False


class Node:
    """One tree, its world and its operator."""

    def __init__(
        self,
        root: SupervisorSpec,
        *,
        fails: dict[str, list[ExitReason | None]] | None = None,
        incarnations: dict[str, int] | None = None,
        stopped: frozenset[str] = frozenset(),
        slow: tuple[str, ...] = (),
        beating: bool = False,
        seed: int = 0,
    ) -> None:
        """Boot `root`.

        Args:
            root: the tree.
            fails: as the verb, before anything starts.
            incarnations: what `boot` is told was used already.
            stopped: likewise, of what operators had stopped.
            slow: workers as of `slow_to_spawn`.
            beating: every worker with a heartbeat beats in time, until it `hangs`.
            seed: of the back-off jitter.
        """
        self.now = SECOND
        self.processes: dict[str, Process] = {}
        self.replies: dict[int, effects.Reply] = {}
        self.reports: list[effects.Report] = []
        self.reloaded: dict[int, effects.Reloaded] = {}
        self.halted: effects.Halt | None = None
        self.lines: list[str] = []
        self._told = 0
        self._fails: dict[str, deque[ExitReason | None]] = {}
        self._supervisors = {path for path, spec in walk(root) if isinstance(spec, SupervisorSpec)}
        self._obeys_with: dict[str, End] = {}
        self._deaf: set[str] = set()
        self._clinging: set[str] = set()
        self._slow: set[str] = set(slow)
        self._beating = beating
        self._hung: set[str] = set()
        self._mute: set[str] = set()
        self._pid = 0
        self._requests = 0
        self._answers: deque[events.Event] = deque()
        refuse = []
        for path, reasons in (fails or {}).items():
            if path in self._supervisors:
                refuse += [events.Refuse(path, reason) for reason in reasons]
            else:
                self.fails(path, *reasons)
        self._root = root
        self.state, asked = boot(
            root,
            seed=seed,
            now=self.now,
            incarnations=incarnations,
            refuse=tuple(refuse),
            stopped=stopped,
        )
        self._do(asked)
        self._answer()

    def told(self) -> list[str]:
        """What has been said since the last call."""
        lines, self._told = self.lines[self._told :], len(self.lines)
        return lines

    # --- how the world behaves --------------------------------------------------------------------
    def fails(self, path: str, *reasons: ExitReason | None) -> None:
        """Let the next starts of this child fail, one for each reason; None answers `ignore`."""
        if path in self._supervisors:
            for reason in reasons:
                self.happens(events.Refuse(path, reason))
        else:
            self._fails.setdefault(path, deque()).extend(reasons)

    def slow_to_spawn(self, path: str) -> None:
        """From now on nobody answers a `Spawn` of this worker but `spawned`."""
        self._slow.add(path)

    def obeys_with(self, path: str, how: End) -> None:
        """From now on this worker ends like that when it is asked."""
        self._obeys_with[path] = how

    def deaf(self, path: str) -> None:
        """From now on this worker does not care for being asked."""
        self._deaf.add(path)

    def clings(self, path: str) -> None:
        """From now on this worker survives SIGKILL."""
        self._clinging.add(path)

    def keeps_stacks(self, path: str) -> None:
        """From now on this worker does not send its stacks."""
        self._mute.add(path)

    # --- what happens to children -----------------------------------------------------------------
    def happens(self, event: events.Event) -> None:
        """Tell the core anything, and let everything come of it that does not take time."""
        self._step(event)
        self._answer()

    def spawned(self, path: str) -> None:
        """A worker that is slow to spawn exists at last."""
        self._answers.append(self._exists(path, self._incarnation(path)))
        self._answer()

    def ready(self, path: str) -> None:
        """A worker that has to say so is ready."""
        self.happens(events.BecameReady(path, self._incarnation(path)))

    def exits(self, path: str, how: End) -> None:
        """A worker ends by itself, whole."""
        self.happens(self._exit(path, how))

    def after(self, path: str, how: End) -> list[str]:
        """What comes of the end of a worker, without the end itself."""
        self.told()
        self.exits(path, how)
        return self.told()[1:]

    def main_exits(self, path: str, how: End) -> None:
        """The main process of a worker ends, others of it live on."""
        self.processes[path].rest = True
        self.happens(self._exit(path, how))

    def emptied(self, path: str) -> None:
        """The last process of a worker is gone, whose main process went before."""
        self.happens(self._empty(path))

    def beats(self, path: str, progress: int | None = None) -> None:
        """A worker gives a sign of life."""
        beat = events.Beat(path, self._incarnation(path), progress)
        self.happens(events.Beats((beat,)))

    def hangs(self, path: str) -> None:
        """A beating worker gives its last sign of life."""
        self.beats(path)
        self._hung.add(path)

    def late(self, path: str) -> None:
        """Everything that can be said of a worker arrives about the incarnation before."""
        old = self._incarnation(path) - 1
        for event in (
            events.Spawned(path, old, 1),
            events.SpawnFailed(path, old, NOPE),
            events.Ignored(path, old),
            events.BecameReady(path, old),
            events.Beats((events.Beat(path, old),)),
            events.Unresponsive(path, old, NOPE),
            events.Dumped(path, old),
            events.Exited(path, old, BOOM),
            events.Exited(path, old, BOOM, empty=False),
            events.Emptied(path, old),
        ):
            self.happens(event)

    def kill_supervisor(self, path: str) -> None:
        """A supervisor dies at once, untrappably."""
        self.happens(events.Kill(path))

    def suspend(self, path: str) -> None:
        """A supervisor goes deaf: what arrives waits in its mailbox."""
        self.happens(events.Suspend(path))

    def resume(self, path: str) -> None:
        """A supervisor hears again."""
        self.happens(events.Resume(path))

    # --- what is ordered --------------------------------------------------------------------------
    def stop(self, reason: ExitReason = SHUTDOWN) -> None:
        """The parent of the root asks it to end."""
        self.happens(events.Stop(reason))

    def reload(self, spec: SupervisorSpec) -> int:
        """The tree is to be as this says; returns the number of the request."""
        self._requests += 1
        self._supervisors |= {
            path for path, below in walk(spec) if isinstance(below, SupervisorSpec)
        }
        self.happens(events.Reload(spec, self._requests))
        return self._requests

    def call(self, op: Any, path: str, **more: Any) -> int:
        """Ask a supervisor for something about its child at `path`; returns the number of the request."""
        self._requests += 1
        above, name = names.parent(path), names.leaf(path)
        if "spec" in more:
            self._supervisors |= {
                below
                for below, spec in walk(more["spec"], path)
                if isinstance(spec, SupervisorSpec)
            }
        self.happens(events.Call(above, self._requests, op, name, **more))
        return self._requests

    def ask(self, op: Any, path: str, **more: Any) -> effects.Reply:
        """`call`, answered at once."""
        return self.replies[self.call(op, path, **more)]

    def query(self, op: Any, supervisor: str) -> None:
        """which_children or count_children."""
        self._requests += 1
        self.happens(events.Call(supervisor, self._requests, op))

    def counts(self, supervisor: str) -> effects.Counts:
        """count_children."""
        self.query("count_children", supervisor)
        counts = self.replies[self._requests].counts
        assert counts is not None
        return counts

    def restart_daemon(
        self, root: SupervisorSpec | None = None, used: dict[str, int] | None = None
    ) -> None:
        """The daemon is killed; another one goes on, with the tree of `root` if that has changed.

        `used` are numbers of which the journal does not know that they were not used.
        """
        self._root = root or self._root
        kept = msgspec.json.decode(msgspec.json.encode(memory.of(self.state)), type=memory.Memory)
        self.state, asked = resume(self._root, kept, seed=0, now=self.now, incarnations=used or {})
        self._do(asked)
        self._answer()

    # --- time -------------------------------------------------------------------------------------
    def advance(self, duration: str | int) -> None:
        """Let time pass; text with a unit, or nanoseconds."""
        spent = duration if isinstance(duration, int) else parse_duration(duration)
        until = self.now + spent
        while (due := next_deadline(self.state)) is not None and due <= until:
            self.now = max(self.now, due)
            self.happens(events.Beats(self._healthy()))
            self.happens(events.Tick())
        self.now = until

    def lags(self, duration: str) -> None:
        """The daemon itself does nothing for so long, then notices."""
        lag = parse_duration(duration)
        self.now += lag
        self.happens(events.Lagged(lag))

    # --- what is the case -------------------------------------------------------------------------
    def row(self, path: str) -> Row:
        """The row of `status` about this child."""
        (row,) = (row for row in rows(self.state, self.now) if row.path == path)
        return row

    def words(self) -> dict[str, str]:
        """The state word of everyone in the tree."""
        return {row.path: row.state.value for row in rows(self.state, self.now)}

    def alive(self) -> set[str]:
        """The workers that have processes, as path#incarnation."""
        return {f"{path}#{process.incarnation}" for path, process in self.processes.items()}

    # --- the world --------------------------------------------------------------------------------
    def _incarnation(self, path: str) -> int:
        return self.state.supervisors[names.parent(path)].children[names.leaf(path)].incarnation

    def _is_current(self, event: events.Exited | events.Ignored) -> bool:
        above = self.state.supervisors.get(names.parent(event.path))
        child = None if above is None else above.children.get(names.leaf(event.path))
        return child is not None and child.incarnation == event.incarnation

    def _healthy(self) -> tuple[events.Beat, ...]:
        """Signs of life of all that beat."""
        return tuple(
            events.Beat(path, process.incarnation)
            for path, process in self.processes.items()
            if self._beating and path not in self._hung and process.main
        )

    def _answer(self) -> None:
        while self._answers:
            self._step(self._answers.popleft())

    def _step(self, event: events.Event) -> None:
        if isinstance(event, events.Exited) and self._is_current(event):
            what = event.how
            text = status_text(what) if isinstance(what, ExitStatus) else what.text
            self._say(f"exit {event.path}#{event.incarnation}: {text}")
        elif isinstance(event, events.Ignored) and self._is_current(event):
            self._say(f"ignored {event.path}#{event.incarnation}")
        self.state, asked = step(self.state, event, self.now)
        self._do(asked)

    def _do(self, asked: tuple[effects.Effect, ...]) -> None:
        invariants.check(self.state)
        for effect in asked:
            line = describe(effect)
            if line is not None:
                self._say(line)
            match effect:
                case effects.Spawn(path=path, incarnation=incarnation):
                    self._spawn(path, incarnation)
                case effects.AskStop(path=path) if path not in self._deaf:
                    self._end(path, self._obeys_with.get(path, ExitStatus(signal=effect.signal)))
                case effects.Kill(path=path) if path not in self._clinging:
                    self._end(path, ExitStatus(signal=SIGKILL))
                case effects.Dump(path=path, incarnation=incarnation) if path not in self._mute:
                    self._answers.append(events.Dumped(path, incarnation))
                case effects.Report():
                    self.reports.append(effect)
                case effects.Reply() if effect.request != memory.NOBODY:
                    assert effect.request not in self.replies, "answered twice"
                    self.replies[effect.request] = effect
                case effects.Reloaded():
                    assert effect.request not in self.reloaded, "answered twice"
                    self.reloaded[effect.request] = effect
                case effects.Halt():
                    assert self.halted is None, "halted twice"
                    assert not self.processes, f"halted and left {self.alive()}"
                    self.halted = effect

    def _spawn(self, path: str, incarnation: int) -> None:
        assert path not in self.processes, f"{path} is started twice"
        failures = self._fails.get(path)
        if failures:
            reason = failures.popleft()
            if reason is None:
                self._answers.append(events.Ignored(path, incarnation))
            else:
                self._answers.append(events.SpawnFailed(path, incarnation, reason))
        elif path not in self._slow:
            self._answers.append(self._exists(path, incarnation))

    def _exists(self, path: str, incarnation: int) -> events.Event:
        self._pid += 1
        self.processes[path] = Process(incarnation)
        self._hung.discard(path)
        return events.Spawned(path, incarnation, self._pid)

    def _end(self, path: str, how: End) -> None:
        """Whatever is left of it ends; a second order for the same end has nothing to say."""
        process = self.processes.get(path)
        if process is not None:
            self._answers.append(self._exit(path, how) if process.main else self._empty(path))

    def _exit(self, path: str, how: End) -> events.Exited:
        process = self.processes[path]
        process.main = False
        if not process.rest:
            del self.processes[path]
        return events.Exited(path, process.incarnation, how, empty=not process.rest)

    def _empty(self, path: str) -> events.Emptied:
        return events.Emptied(path, self.processes.pop(path).incarnation)

    def _say(self, line: str) -> None:
        self.lines.append(line)
