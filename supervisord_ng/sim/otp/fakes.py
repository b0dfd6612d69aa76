"""The simulated workers of a scenario: they start, fail and stop as they are told.

They are the oracle's workers: processes that trap exits, ignore the exit signals of strangers, and
end by `kill` only from outside. Their lines stand in the trace when they happen. See
docs/otp-conformance.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from supervisord_ng import limits
from supervisord_ng.core import effects, events
from supervisord_ng.model import names
from supervisord_ng.model.exits import KILLED, SHUTDOWN, ExitReason, abnormal
from supervisord_ng.sim.agenda import Agenda
from supervisord_ng.sim.otp.roster import Roster
from supervisord_ng.sim.otp.scenario import Book, Declaration
from supervisord_ng.sim.otp.terms import raised, reason_from_word, reason_term


class Answer(msgspec.Struct, frozen=True):
    """An answer to `Spawn`, to be given to the core."""

    event: events.Event


class Death(msgspec.Struct, frozen=True):
    """A worker is about to end. `own` says that it exits by itself, not by an untrappable kill.

    `seen` is False for what real Erlang would leave running: an orphan that ignores its broken
    link.
    """

    path: str
    incarnation: int
    reason: ExitReason
    own: bool = True
    seen: bool = True


Happening = Answer | Death


class Failure(msgspec.Struct, frozen=True):
    """One start that will not come to an end. `mode` is error, exit, raise, timeout or ignore."""

    mode: str
    reason: ExitReason


class Fake(msgspec.Struct):
    """One simulated worker. `dying`: its end is planned, it reacts to nothing more."""

    dying: bool = False


class Fakes:
    """All simulated workers, and the starts that are to fail."""

    def __init__(
        self, book: Book, roster: Roster, agenda: Agenda[Happening], say: Callable[[str], None]
    ) -> None:
        self._book = book
        self._roster = roster
        self._agenda = agenda
        self._say = say
        self._alive: dict[tuple[str, int], Fake] = {}
        self._failures: dict[str, deque[Failure]] = {}
        self._stops: dict[str, str] = {}  # `behave`: overrides of stop=
        self._broken: set[str] = set()  # supervisors that were killed: links to them are broken
        self._pid = 0

    def fail(self, name: str, count: int, mode: str, word: str) -> None:
        """Let the next `count` starts of `name` fail, behind those that are to fail already."""
        reason = abnormal("timeout") if mode == "timeout" else reason_from_word(word)
        queue = self._failures.setdefault(name, deque())
        queue.extend([Failure(mode, reason)] * count)

    def next_failure(self, name: str) -> Failure | None:
        """Take the next failure that is waiting for a start of `name`."""
        queue = self._failures.get(name)
        return queue.popleft() if queue else None

    def behave(self, name: str, stop: str) -> None:
        """Change how `name` answers a stop."""
        self._stops[name] = stop

    def supervisor_starts(self, path: str) -> None:
        """Note that a new incarnation of this supervisor links to its own children."""
        self._broken.discard(path)

    def supervisor_killed(self, path: str) -> None:
        """Note that this supervisor died without stopping its children."""
        self._broken.add(path)

    # --- effects ----------------------------------------
    def spawn(self, effect: effects.Spawn) -> None:
        """Start a worker, or fail to."""
        name = self._roster.name(effect.path)
        failure = self.next_failure(name)
        if failure is None:
            self._pid += 1
            self._alive[effect.path, effect.incarnation] = Fake()
            self._answer(events.Spawned(effect.path, effect.incarnation, self._pid))
        elif failure.mode == "ignore":
            self._say(f"ignored {name}")
            self._answer(events.Ignored(effect.path, effect.incarnation))
        else:
            if failure.mode == "exit" and failure.reason.is_abnormal:
                self._say_crash("(starting)", failure.reason)
            self._say(f"start_failed {name} reason={reason_term(failure.reason)}")
            reason = raised(failure.reason) if failure.mode == "raise" else failure.reason
            self._answer(events.SpawnFailed(effect.path, effect.incarnation, reason))

    def ask_stop(self, effect: effects.AskStop) -> None:
        """A supervisor asks a worker to end with reason shutdown."""
        if effect.grace_ns == 0:
            return  # the kill that follows overtakes whatever it would do
        self._exit_signal(effect.path, effect.incarnation, SHUTDOWN)

    def kill(self, effect: effects.Kill) -> None:
        """A worker is killed, or orphaned: then its broken link is a signal that it can trap."""
        supervisor = names.parent(effect.path)
        if supervisor not in self._broken:
            death = Death(effect.path, effect.incarnation, KILLED, own=False)
            self._agenda.soon(death)
        elif names.parent(supervisor) in self._broken:
            # its supervisor's parent was killed, so its supervisor stopped it in good order
            self._exit_signal(effect.path, effect.incarnation, SHUTDOWN, orphan=True)
        else:
            self._exit_signal(effect.path, effect.incarnation, KILLED, orphan=True)

    def _exit_signal(
        self, path: str, incarnation: int, reason: ExitReason, *, orphan: bool = False
    ) -> None:
        fake = self._alive.get((path, incarnation))
        if fake is None or fake.dying:
            return
        kind, _, rest = self._stop_of(path).partition(":")
        if kind == "ignore" and not orphan:
            return
        fake.dying = True
        if kind == "ignore":
            self._agenda.soon(Death(path, incarnation, reason, seen=False))
        elif kind == "delay":
            self._agenda.after(int(rest) * limits.MS, Death(path, incarnation, reason))
        elif kind == "exit":
            self._agenda.soon(Death(path, incarnation, reason_from_word(rest)))
        else:
            self._agenda.soon(Death(path, incarnation, reason))

    # --- what happens to them ----------------------------------------
    def die(self, death: Death) -> events.Event | None:
        """Let a worker end; None when it has ended already."""
        if self._alive.pop((death.path, death.incarnation), None) is None:
            return None
        handle = self._roster.find(death.path, death.incarnation)
        if handle is not None and death.seen:
            self._roster.ended(handle)
            self._say(f"exit {handle} {reason_term(death.reason)}")
            if death.own and death.reason.is_abnormal:
                self._say_crash(str(handle), death.reason)
        return events.Exited(death.path, death.incarnation, death.reason)

    def _say_crash(self, who: str, reason: ExitReason) -> None:
        if "crash" in self._book.options:
            self._say(f"crash {who} reason={reason_term(reason)}")

    def _answer(self, event: events.Event) -> None:
        self._agenda.soon(Answer(event))

    def _stop_of(self, path: str) -> str:
        name = self._roster.name(path)
        if name in self._stops:
            return self._stops[name]
        declared = self._declaration(path, name)
        return "obey" if declared is None else declared.keys.get("stop", "obey")

    def _declaration(self, path: str, name: str) -> Declaration | None:
        supervisor = self._roster.name(names.parent(path))
        if self._book.is_simple(supervisor):
            templates = self._book.children(supervisor)
            return templates[0] if templates else None
        return self._book.declarations.get(name)
