"""How many beats are to be expected, and how long one of them may wait for the others to be read together."""

from __future__ import annotations

from collections import Counter

from supervisord_ng.limits import (
    HEARTBEAT_GATHER_FRACTION,
    HEARTBEAT_GATHER_MAX_NS,
    HEARTBEAT_GATHER_MIN,
    MS,
)


class Traffic:
    """The intervals and timeouts of all workers that may beat.

    Attributes:
        gather_ns: how long what has arrived may wait for more; 0 where too little would come to be worth it.
    """

    __slots__ = ("_intervals", "_timeouts", "gather_ns")

    def __init__(self) -> None:
        self._intervals: Counter[int] = Counter()  # in ms; there are few different ones
        self._timeouts: Counter[int] = Counter()
        self.gather_ns = 0

    def add(self, interval_ms: int, timeout_ms: int) -> None:
        """A worker that beats every `interval_ms`, and is judged by `timeout_ms`; 0: it does not, it is not."""
        self._count(interval_ms, timeout_ms, 1)

    def remove(self, interval_ms: int, timeout_ms: int) -> None:
        """The worker of an `add` is gone."""
        self._count(interval_ms, timeout_ms, -1)

    def _count(self, interval_ms: int, timeout_ms: int, by: int) -> None:
        if not interval_ms or not timeout_ms:
            return
        for counts, value in ((self._intervals, interval_ms), (self._timeouts, timeout_ms)):
            counts[value] += by
            if not counts[value]:
                del counts[value]
        self.gather_ns = self._gather_ns()

    def _gather_ns(self) -> int:
        if not self._timeouts:
            return 0
        longest = int(min(self._timeouts) * MS * HEARTBEAT_GATHER_FRACTION)
        gather_ns = min(longest, HEARTBEAT_GATHER_MAX_NS)
        beats_per_ms = sum(count / interval for interval, count in self._intervals.items())
        return gather_ns if beats_per_ms * gather_ns / MS >= HEARTBEAT_GATHER_MIN else 0
