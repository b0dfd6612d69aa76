"""What waits for the disk: reports of this node, and parcels of reports from the nodes below.

Both are bounded, in different ways. Nobody else has a report of this node, so when there is no room
the oldest goes and is counted. A parcel lies in the store of the node it comes from until we
acknowledge it, so when there is no room it is not taken at all, and once taken it is never dropped.
Not safe for threads: the store's lock guards it. Knows neither files nor SQL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from supervisord_ng import limits
from supervisord_ng.model.reports import CrashReport
from supervisord_ng.reports.stats import last_frame

Row = tuple[object, ...]


class Encoded(NamedTuple):
    """A report, and its JSON."""

    report: CrashReport
    body: bytes


class Waiting(NamedTuple):
    """A report on its way to the disk, already in the shape in which it goes there."""

    row: Row
    size: int
    done: Callable[[str], None] | None

    def tell(self) -> None:
        """Say that it is on the disk."""
        if self.done is not None:
            self.done(str(self.row[0]))


class Parcel(NamedTuple):
    """Reports from a node below.

    `load` unpacks them, in the writer's thread and perhaps more than once; what it cannot read it
    leaves out. `size` is that of the unpacked reports in bytes. `done` is called when all are on the disk.
    """

    load: Callable[[], Sequence[Encoded]]
    size: int
    done: Callable[[], None]


def row_of(report: CrashReport, stored: float, body: bytes) -> Row:
    """The columns of a report. `stored` is when it came here, in seconds since the epoch."""
    return (
        report.id,
        report.node,
        report.path,
        report.worker,
        report.reason,
        report.context.value,
        last_frame(report.traceback),
        report.ended,
        stored,
        body,
    )


class Queue:
    """Two bounded queues, and what of them is being written.

    Attributes:
        dropped: reports of this node for which there was no room.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._own: deque[Waiting] = deque()
        self._parcels: deque[Parcel] = deque()
        self._writing: list[Waiting] = []
        self._unpacking: list[Parcel] = []
        self._own_bytes = 0
        self._parcel_bytes = 0

    def __len__(self) -> int:
        """How many reports of this node are in memory."""
        return len(self._own) + len(self._writing)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._own or self._parcels)

    @property
    def has_own(self) -> bool:
        """Whether reports of this node wait that are not being written."""
        return bool(self._own)

    def put(self, report: CrashReport, stored: float, done: Callable[[str], None] | None) -> None:
        """Take a report of this node; the oldest makes room for it, and is counted."""
        body = msgspec.json.encode(report)
        if self._make_room(len(body)):
            self._own.append(Waiting(row_of(report, stored, body), len(body), done))
            self._own_bytes += len(body)
        else:
            self.dropped += 1

    def has_room(self, size: int) -> bool:
        """Whether a parcel of so many bytes may come."""
        return self._parcel_bytes + size <= limits.REPORTS_RECEIVED_BYTES_MAX

    def put_parcel(self, parcel: Parcel) -> None:
        """Take a parcel, for which `has_room`."""
        self._parcels.append(parcel)
        self._parcel_bytes += parcel.size

    def take(self) -> tuple[list[Waiting], list[Parcel]]:
        """What goes into the next transaction; it counts as waiting until `written`."""
        assert not self._writing, "two transactions at a time"
        assert not self._unpacking, "two transactions at a time"
        while self._own and len(self._writing) < limits.STORE_BATCH_MAX:
            self._writing.append(self._own.popleft())
        room = limits.STORE_PARCEL_BYTES_MAX
        while self._parcels and (room >= self._parcels[0].size or not self._unpacking):
            self._unpacking.append(self._parcels.popleft())
            room -= self._unpacking[-1].size
        return self._writing, self._unpacking

    def put_back(self) -> None:
        """What was taken could not be written: it is the oldest again."""
        self._own.extendleft(reversed(self._writing))
        self._parcels.extendleft(reversed(self._unpacking))
        self._writing, self._unpacking = [], []

    def written(self) -> None:
        """What was taken is on the disk."""
        self._own_bytes -= sum(one.size for one in self._writing)
        self._parcel_bytes -= sum(parcel.size for parcel in self._unpacking)
        self._writing, self._unpacking = [], []

    def _make_room(self, size: int) -> bool:
        """Drop the oldest until `size` more bytes may wait; say whether they may.

        What is being written is out of reach; where that alone fills the bounds, the new one goes.
        """
        if size > limits.REPORTS_WAITING_BYTES_MAX:
            return False  # for its sake nothing else should go
        while self._is_full(size) and self._own:
            self._own_bytes -= self._own.popleft().size
            self.dropped += 1
        return not self._is_full(size)

    def _is_full(self, size: int) -> bool:
        too_many = len(self) >= limits.REPORTS_WAITING_MAX
        return too_many or self._own_bytes + size > limits.REPORTS_WAITING_BYTES_MAX
