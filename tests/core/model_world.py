"""The naive model as a whole: a root, an operator and accidents, with the verbs of `node.Node`."""

from __future__ import annotations

from collections import deque
from typing import Any

from supervisord_ng.model import names
from supervisord_ng.model.exits import SHUTDOWN, ExitReason
from supervisord_ng.model.spec import SupervisorSpec
from tests.core.model import Supervisor, launch
from tests.core.model_calls import handle
from tests.core.model_nouns import (
    Call,
    Child,
    End,
    Exit,
    Process,
    Retry,
    StartFailedError,
    Stop,
    World,
)


class Model:
    """One tree that obeys the rules of `model`."""

    def __init__(self, root: SupervisorSpec, fails: dict[str, list[ExitReason | None]]) -> None:
        self.world = World()
        self.world.failures = {path: deque(reasons) for path, reasons in fails.items()}
        self.halted = False
        self.ended_last = ""  # by itself
        self._told = 0
        self._requests = 0
        self._asked = False
        self._root: Process | None = None
        try:
            self._root = launch(self.world, root, root.name, None)
        except StartFailedError as failed:
            self._halt(failed.reason)
        self._run()

    def told(self) -> list[str]:
        """What has been said since the last call."""
        lines, self._told = self.world.lines[self._told :], len(self.world.lines)
        return lines

    # --- what happens -----------------------------------------------------------------------------
    def exits(self, path: str, how: End) -> None:
        """A worker ends by itself."""
        self.ended_last = path
        process = self.workers()[path]
        process.ends(how)
        self._owner(path).mailbox.append(Exit(process))
        self._run()

    def fails(self, path: str, *reasons: ExitReason | None) -> None:
        """Let the next starts of this child fail, one for each reason; None answers `ignore`."""
        self.world.failures.setdefault(path, deque()).extend(reasons)

    def obeys_with(self, path: str, how: End) -> None:
        """From now on this worker ends like that when it is asked."""
        self.world.obeying[path] = how

    def keeps_stacks(self, path: str) -> None:
        """From now on this worker does not send its stacks."""
        self.world.mute.add(path)

    def hangs(self, path: str) -> None:
        """A worker gives its last sign of life."""
        self.workers()[path].hangs()

    def late(self, path: str) -> None:
        """News of an earlier incarnation are no news."""

    def kill_supervisor(self, path: str) -> None:
        """A supervisor dies at once, untrappably."""
        supervisor = self.supervisors()[path]
        supervisor.die()
        if supervisor.parent is not None:
            supervisor.parent.mailbox.append(Exit(supervisor))
        self._run()

    def suspend(self, path: str) -> None:
        """A supervisor goes deaf: what arrives waits in its mailbox."""
        self.supervisors()[path].held = True

    def resume(self, path: str) -> None:
        """A supervisor hears again."""
        self.supervisors()[path].held = False
        self._run()

    def stop(self, reason: ExitReason = SHUTDOWN) -> None:
        """The parent of the root asks it to end."""
        self._asked = True
        assert isinstance(self._root, Supervisor)
        self._root.mailbox.append(Stop(reason))
        self._run()

    def call(self, op: str, path: str, **more: Any) -> None:
        """Ask a supervisor for something about its child at `path`."""
        self._call(names.parent(path), op, names.leaf(path), **more)

    def query(self, op: str, supervisor: str) -> None:
        """which_children or count_children."""
        self._call(supervisor, op, "")

    def _call(self, supervisor: str, op: str, name: str, **more: Any) -> None:
        self._requests += 1
        self.supervisors()[supervisor].mailbox.append(Call(self._requests, op, name, **more))
        self._run()

    def advance(self, duration: int) -> None:
        """Let time pass: who hangs is found out, who waits for a back-off gets its turn."""
        until = self.world.now + duration
        while self.waiting() and self.waiting()[0][0] <= until:
            due, path, child = self.waiting()[0]
            self.world.now = due
            if child.due is not None:
                child.due = None
                self._owner(path).mailbox.append(Retry(child.spec.name))
            elif child.running is not None:
                child.running.is_silent()
                if child.running.reason is not None:
                    self._owner(path).mailbox.append(Exit(child.running))
            self._run()
        self.world.now = until

    # --- what is the case -------------------------------------------------------------------------
    def supervisors(self) -> dict[str, Supervisor]:
        """The living supervisors, parents first."""
        found = [self._root] if isinstance(self._root, Supervisor) else []
        for supervisor in found:
            running = [child.running for child in supervisor.children]
            found += [process for process in running if isinstance(process, Supervisor)]
        return {each.path: each for each in found if each.reason is None}

    def children(self) -> list[Child]:
        """The child records of all living supervisors."""
        return [child for each in self.supervisors().values() for child in each.children]

    def workers(self) -> dict[str, Process]:
        """The living workers."""
        running = [child.running for child in self.children()]
        return {
            process.path: process
            for process in running
            if process is not None
            and process.reason is None
            and not isinstance(process, Supervisor)
        }

    def waiting(self) -> list[tuple[int, str, Child]]:
        """Who waits for a back-off or hangs, in the order of times."""
        found = []
        for child in self.children():
            silent = child.running.silent if child.running is not None else None
            due = child.due if child.due is not None else silent
            if due is not None and (child.running is None or child.running.reason is None):
                found.append((due, child.path, child))
        return sorted(found, key=lambda each: each[:2])

    # --- one at a time ----------------------------------------------------------------------------
    def _owner(self, path: str) -> Supervisor:
        return self.supervisors()[names.parent(path)]

    def _run(self) -> None:
        """Let messages be handled until none is left that can be."""
        while not self.halted:
            root = self._root
            if root is None or root.reason is not None:
                self._root_is_gone(root)
                return
            busy = [s for s in self.supervisors().values() if s.mailbox and not s.held]
            if not busy:
                return
            assert len(busy) == 1, f"not in step: {[s.name for s in busy]}"
            supervisor = busy[0]
            message = supervisor.mailbox.pop(0)
            if isinstance(message, Call):
                handle(supervisor, message)
            else:
                supervisor.handle(message)

    def _root_is_gone(self, root: Process | None) -> None:
        assert isinstance(root, Supervisor)
        assert root.reason is not None
        if not root.booted and not self._asked:
            self.world.say(f"failed {root.name}: {root.reason.text}")
        self._halt(root.reason)

    def _halt(self, reason: ExitReason) -> None:
        self.halted = True
        self.world.say(f"halt: {reason.text}" + (", asked" if self._asked else ""))
