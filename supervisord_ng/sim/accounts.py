"""The books about lives: whoever was started has one end, which is told once, and a crash makes one report.

Across kills of the daemon too. What was not on the disk is forgotten together: a start, its end and its report;
whoever lives on such a start is taken over under its number, or is ended by the next daemon.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from supervisord_ng.core import effects
from supervisord_ng.model.exits import KILLED
from supervisord_ng.model.reports import Context, EventName
from supervisord_ng.sim.copies import copied
from supervisord_ng.sim.world import Key

_ENDS = {EventName.CRASHED, EventName.EXITED, EventName.STOPPED, EventName.START_FAILED}


class Accounts:
    """Of one history, workers only."""

    def __init__(self) -> None:
        self._running: set[Key] = set()
        self._ended: set[Key] = set()
        self._reported: set[Key] = set()
        self._forgotten: set[Key] = set()
        self._asked: set[Key] = set()  # to end, or found to hang
        self._owed: set[Key] = set()  # who died by nobody's wish while no daemon looked
        self._claimed: dict[str, int] = {}  # the last that a daemon has found started already

    def copy(self) -> Accounts:
        """The books as they are now."""
        return copied(self)

    def spawned(self, key: Key) -> None:
        """The core has heard of a start."""
        self._running.add(key)

    def claimed(self, key: Key) -> None:
        """A daemon that begins has found this start, which was not on the disk."""
        self._claimed[key[0]] = key[1]

    def forgotten(self, unknown: Iterable[Key]) -> list[Key]:
        """Nobody tells of these starts, if nobody has by now; whom somebody should have is returned."""
        new = set(unknown) - self._running - self._ended - self._forgotten
        self._forgotten |= new
        missed = sorted(key for key in new if key[1] < self._claimed.get(key[0], 0))
        self._claimed.clear()
        return missed

    def removed(self, paths: Container[str]) -> None:
        """These children have no place in the tree any more, and a daemon that begins ends them."""
        gone = {key for key in self._running if key[0] in paths}
        self._forgotten |= gone
        self._running -= gone

    def anew(self, everybody: Iterable[Key]) -> None:
        """Nobody goes on with what was: it is told in the log of the daemon, and nowhere else."""
        self._running.clear()
        self._owed.clear()
        self.forgotten(everybody)

    def asked(self, key: Key) -> None:
        """Its end is no accident any more."""
        self._asked.add(key)

    def is_asked(self, key: Key) -> bool:
        """Whether its end has been asked for, or it is ill."""
        return key in self._asked

    def found(self, ended: Iterable[Key], starting: Container[str]) -> None:
        """A daemon that begins finds that these are gone. A failed start is told to who made it."""
        self._owed |= {key for key in ended if key not in self._asked and key[0] not in starting}

    def wrong(self, effect: effects.Note | effects.Report) -> str | None:
        """Take note of what the core says; what is wrong with it, in words."""
        if effect.incarnation is None:
            return None
        key = (effect.path, effect.incarnation)
        if isinstance(effect, effects.Report):
            self._owed.discard(key)
            if effect.context is not Context.CHILD_TERMINATED:
                return None
            twice = key in self._reported
            self._reported.add(key)
            return f"{key[0]}: the end of #{key[1]} is reported twice" if twice else None
        if effect.event is EventName.EXITED and effect.reason == KILLED:  # nobody judges then
            self._owed = {it for it in self._owed if not it[0].startswith(f"{effect.path}/")}
        if effect.kind != "worker" or effect.event not in _ENDS:
            return None
        twice = key in self._ended
        self._ended.add(key)
        self._running.discard(key)
        if effect.event is EventName.CRASHED and key not in self._reported:
            return f"{key[0]}: #{key[1]} crashed, and nobody reports it"
        return f"{key[0]}: #{key[1]} ends twice" if twice else None

    def unaccounted(self, all_keys: Iterable[Key], living: Iterable[Key]) -> list[Key]:
        """Who has come and gone, or lives, and nobody has said so."""
        gone = sorted(set(all_keys) - set(living) - self._ended - self._forgotten)
        unknown = sorted(set(living) - self._running)
        return gone + unknown + sorted(self._owed - self._forgotten)
