"""Keeps crash reports and the states that led to them in step on their way to the store.

A report may have to wait a moment for a traceback that is on its way. What the disk says must have been true at
one moment, reports included: a death that is in the journal and not reported would be lost by a kill, one that
is reported and not in the journal would be reported twice. So everything goes to the store in the order in
which it was decided, and what comes after a report that still waits, waits too; restarts do not.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from supervisord_ng.core.state import NodeState
from supervisord_ng.model.reports import CrashReport

Record = Callable[[Sequence[CrashReport], NodeState], None]
"""Writes reports and the state after them in one transaction."""

Confirm = Callable[[Callable[[], None]], None]


class Ledger:
    """In the order of the core's decisions.

    Args:
        record: the store's.
        confirm: calls back, in whatever thread, when all that was recorded is on the disk.
    """

    def __init__(self, record: Record, confirm: Confirm) -> None:
        self._record = record
        self._confirm = confirm
        # Ids of reports, the states between them, and who wants to know that it has come so far.
        self._waiting: deque[str | NodeState | Callable[[], None]] = deque()
        self._complete: dict[str, CrashReport] = {}

    def expect(self, report_id: str) -> None:
        """A report has been decided on, and will be complete soon."""
        self._waiting.append(report_id)

    def complete(self, report: CrashReport) -> None:
        """A report that was expected has everything that it will have."""
        self._complete[report.id] = report
        self._release()

    def turned(self, state: NodeState) -> None:
        """All that was decided until now has led to this state."""
        if self._waiting and isinstance(self._waiting[-1], NodeState):
            self._waiting[-1] = state
        else:
            self._waiting.append(state)
        self._release()

    def when_written(self, done: Callable[[], None]) -> None:
        """Call `done`, in the writer's thread, when all that was decided until now is on the disk."""
        self._waiting.append(done)
        self._release()

    def is_written_within(self, timeout_s: float) -> bool:
        """Wait, blocking, until all that was decided until now is on the disk; say whether it is."""
        written = threading.Event()
        self.when_written(written.set)
        return written.wait(timeout_s)

    def _release(self) -> None:
        """Hand on what nothing is missing from: up to a state, because a report goes with the one it led to."""
        reports: list[CrashReport] = []
        ready = 0  # so many of those who wait
        for at, one in enumerate(self._waiting, 1):
            if isinstance(one, NodeState):
                self._record(reports, one)
                reports, ready = [], at
            elif isinstance(one, str):
                if one not in self._complete:
                    break
                reports.append(self._complete[one])
            elif not reports:
                self._confirm(one)
                ready = at
        for _ in range(ready):
            gone = self._waiting.popleft()
            if isinstance(gone, str):
                del self._complete[gone]
