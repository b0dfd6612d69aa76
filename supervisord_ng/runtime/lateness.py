"""How late the daemon itself is: its deadlines, against when it came to look at them.

A starved host, a daemon that was stopped and a loop that is kept busy look alike here, which is what is wanted:
all of them make workers seem silent.
"""

from __future__ import annotations

from supervisord_ng.limits import LATENESS_KEPT_NS


class Lateness:
    """The worst of the last minute or so; costs nothing while nothing is due."""

    __slots__ = ("_before", "_since", "_worst")

    def __init__(self) -> None:
        self._since = 0  # when the current half began
        self._worst = 0  # in it
        self._before = 0  # in the half before it

    def note(self, late_ns: int, now: int) -> None:
        """A deadline was looked at so much too late."""
        self._pass_to(now)
        self._worst = max(self._worst, late_ns)

    def worst_ns(self, now: int) -> int:
        """The worst lateness of the last `LATENESS_KEPT_NS`, give or take a half of it."""
        self._pass_to(now)
        return max(self._worst, self._before)

    def _pass_to(self, now: int) -> None:
        halves = (now - self._since) // (LATENESS_KEPT_NS // 2)
        if halves:
            self._before = self._worst if halves == 1 else 0
            self._worst = 0
            self._since = now
