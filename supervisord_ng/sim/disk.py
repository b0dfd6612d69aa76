"""The crash reports on the disk of a simulated host: what is durable, and what is on its way there.

Reports become durable in the order in which they were written, own ones and those from below. When the disk is
behind nothing does any more; what is on its way then is lost when the daemon is killed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Write:
    """Some reports on their way. `own`: they were made here."""

    def __init__(self, ids: tuple[str, ...], *, own: bool) -> None:
        self.ids = ids
        self.own = own
        self.done = False


class Disk:
    """Of one host. `room` is how many reports it holds.

    Attributes:
        reports: by number, number n at index n - 1.
        made: those that were made here, in order.
        gone: those that went for want of room.
        dropped: of these, those that were never sent.
        acked: the number up to which the node above has them.
    """

    def __init__(self, room: int) -> None:
        self.reports: list[str] = []
        self.made: list[str] = []
        self.gone: set[str] = set()
        self.dropped: set[str] = set()
        self.acked = 0
        self._room = room
        self._waiting: deque[Write] = deque()
        self._is_behind = False

    def write(self, ids: tuple[str, ...], *, own: bool) -> Write:
        """Begin to write reports."""
        write = Write(ids, own=own)
        self._waiting.append(write)
        return write

    def reach(self, write: Write) -> bool:
        """Whether a write is durable; if the disk keeps up, it is by now."""
        while not (write.done or self._is_behind):
            self._store(self._waiting.popleft())
        return write.done

    def acknowledged(self, upto: int) -> None:
        """The node above has everything up to this number."""
        if not self._is_behind:
            self.acked = max(self.acked, upto)

    def falls_behind(self) -> None:
        """All that was written is durable, and nothing else will be."""
        self.catch_up()
        self._is_behind = True

    def catch_up(self) -> None:
        """All that was written is durable."""
        self._is_behind = False
        while self._waiting:
            self._store(self._waiting.popleft())

    def lose(self) -> None:
        """Whoever wrote is no more: what was on its way is lost."""
        self._waiting.clear()
        self._is_behind = False

    def kept(self, after: int, upto: int) -> tuple[str, ...]:
        """Those with numbers above `after` up to `upto` that are still there."""
        return tuple(one for one in self.reports[after:upto] if one not in self.gone)

    def _store(self, write: Write) -> None:
        write.done = True
        self._add(write.ids)
        if write.own:
            self.made += write.ids

    def _add(self, ids: Iterable[str]) -> None:
        """Add reports that are not there yet; the oldest make room, sent or not."""
        known = set(self.reports)
        self.reports += [one for one in ids if one not in known]
        for number, one in enumerate(self.reports[: -self._room], start=1):
            if one not in self.gone:
                self.gone.add(one)
                if number > self.acked:
                    self.dropped.add(one)
