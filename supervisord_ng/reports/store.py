"""The store of crash reports: one thread that writes, and a bounded queue in front of it.

`append` never waits for the disk. The thread takes everything that waits into one transaction
(group commit), so a crash storm costs one fsync a batch. While the disk refuses, reports wait in
bounded memory and the thread tries again, later and later; what a bound drops is counted, never
silent. Must not know who reports, nor asyncio: callbacks are called in the writer's thread.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.core.state import NodeState
from supervisord_ng.errors import StoreError
from supervisord_ng.model.reports import CrashReport
from supervisord_ng.reports import database
from supervisord_ng.reports.file import StoreFile, Writing
from supervisord_ng.reports.journal import Journal
from supervisord_ng.reports.outbox import Position
from supervisord_ng.reports.queue import Parcel, Queue, Row, Waiting, row_of
from supervisord_ng.reports.reader import Reader


class Counts(NamedTuple):
    """Reports on disk, in memory, lost to a bound, and removed as `keep` and `max_count` say.

    The last two grow over the life of the state_dir. With a node above, what `keep` or `max_count`
    removes before it was sent is lost.
    """

    stored: int
    waiting: int
    dropped: int
    expired: int


class _Batch(NamedTuple):
    """What goes into one transaction."""

    reports: list[Waiting]
    parcels: list[Parcel]
    incarnations: dict[str, int]
    saved: list[Callable[[], None]]
    state: NodeState | None


class Store:
    """The store of one node. Made by `open`; safe to use from any thread."""

    def __init__(
        self,
        path: str,
        keep_ns: int,
        max_count: int,
        on_problem: Callable[[str], None],
        on_stored: Callable[[int], None] | None,
        clock: Callable[[], float],
        boot: str,
    ) -> None:
        """Use `open` instead."""
        self._path = path
        self._keep_ns = keep_ns
        self._max_count = max_count
        self._on_problem = on_problem
        self._on_stored = on_stored
        self._clock = clock
        self._file = StoreFile(
            path, on_problem, Journal(boot)
        )  # this and the next two: the writer's own
        self._was_open = False
        self._missing: dict[str, int] = {}  # incarnations that the open file lacks: it is a new one
        self._change = threading.Condition()  # guards everything below
        self._queue = Queue()
        self._outbox = Position()
        self._incarnations: dict[str, int] = {}
        self._unsaved: dict[str, int] = {}
        self._on_saved: list[Callable[[], None]] = []
        self._state: NodeState | None = None
        self._stored = 0
        self._dropped = 0
        self._expired = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    @classmethod
    def open(
        cls,
        path: str,
        *,
        keep_ns: int,
        max_count: int,
        on_problem: Callable[[str], None],
        on_stored: Callable[[int], None] | None = None,
        clock: Callable[[], float] = time.time,
        boot: str = "",
    ) -> Store:
        """Open or make the store and start its writer.

        A corrupt file is moved aside and a new one begun. A disk that is full, or a lock that
        another process holds, is a problem for later: the store opens and reports wait in memory.

        Args:
            path: the database file, `model.paths.STORE` in state_dir.
            keep_ns: reports older than this are removed.
            max_count: of more reports than this the oldest are removed.
            on_problem: told, in words for a person, what goes wrong and when it is over; called
                in any thread.
            on_stored: told, in the writer's thread, the highest number of a report on disk, for the node
                above; None when there is none.
            clock: seconds since the epoch.
            boot: names the boot of the host, for the journal.

        Raises:
            StoreError: the path cannot be opened at all, or belongs to a newer version or another
                program; or its incarnation numbers cannot be read, without which old ones would
                be used again.
        """
        store = cls(path, keep_ns, max_count, on_problem, on_stored, clock, boot)
        store._open_first()
        store._thread.start()
        return store

    @property
    def counts(self) -> Counts:
        """How many reports are where."""
        with self._change:
            dropped = self._dropped + self._queue.dropped
            return Counts(self._stored, len(self._queue), dropped, self._expired)

    @property
    def outbox(self) -> Position:
        """How far the reports have come on their way to the node above."""
        with self._change:
            return self._outbox

    def append(self, report: CrashReport, done: Callable[[str], None] | None = None) -> None:
        """Store `report`, soon; return at once. One whose id is there already is not repeated.

        Where the bounds on what waits are reached, the oldest that waits is dropped and counted.
        `done` is called with the id, in the writer's thread, when the report survives the loss of
        power; never for one that was dropped. It must not raise.
        """
        with self._change:
            if self._closing:
                self._dropped += 1
                return
            idle = not self._queue
            self._queue.put(report, self._clock(), done)
            if idle:  # otherwise it has been told already
                self._change.notify()

    def record(self, reports: Sequence[CrashReport], state: NodeState) -> None:
        """Store reports as `append` does, and the state that they led to, in one transaction; return at once.

        Of several states only the last is written, never before all the reports that were given with it.
        """
        with self._change:
            if self._closing:
                self._dropped += len(reports)
                return
            now = self._clock()
            for report in reports:
                self._queue.put(report, now, None)
            idle = not self._journal_waits()
            self._state = state
            if reports or (idle and self._journal_waits()):
                self._change.notify()

    def has_room(self, size: int) -> bool:
        """Whether a parcel of so many bytes may come from a node below; if not, it has to come again."""
        with self._change:
            return not self._closing and self._queue.has_room(size)

    def receive(self, parcel: Parcel) -> None:
        """Store what a node below has sent, in its order, each report once; return at once.

        `parcel.done` is called, in the writer's thread, when it is on disk; never, when we are closed before.
        """
        with self._change:
            self._queue.put_parcel(parcel)
            self._change.notify()

    def acknowledged(self, upto: int) -> None:
        """Remember that the node above has every report up to a number; return at once."""
        with self._change:
            if upto > self._outbox.acked:
                self._outbox = self._outbox._replace(acked=upto)
                self._change.notify()

    def save_incarnations(
        self, last: Mapping[str, int], done: Callable[[], None] | None = None
    ) -> None:
        """Remember for each path the highest incarnation number in use; return at once.

        Numbers only grow; several calls become one write. `done` is called, in the writer's thread,
        when everything up to this call is on disk. It must not raise.
        """
        with self._change:
            for path, number in last.items():
                if number > self._incarnations.get(path, -1):
                    self._incarnations[path] = number
                    self._unsaved[path] = number
            if done is not None:
                self._on_saved.append(done)
            self._change.notify()

    def confirm(self, done: Callable[[], None]) -> None:
        """Call `done`, in the writer's thread, when all that was given before this call is on the disk."""
        self.save_incarnations({}, done)

    def load_incarnations(self) -> dict[str, int]:
        """Return the last incarnation number of every child that this state_dir ever had."""
        with self._change:
            return dict(self._incarnations)

    def set_bounds(self, keep_ns: int, max_count: int) -> None:
        """Change what is kept (a reload); it takes effect with the next write."""
        with self._change:
            self._keep_ns = keep_ns
            self._max_count = max_count

    def close(self, timeout_s: float) -> int:
        """Write what waits, stop the writer, and return how many reports did not reach the disk.

        Where the disk refuses it is asked once more, and no longer waited for; nor is a disk that
        does not answer within `timeout_s` seconds.
        """
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join(timeout_s)
        return self.counts.waiting

    # --- the caller's side -----------------------------------------------------------------------

    def _open_first(self) -> None:
        try:
            self._file.in_good_file(self._open_file)
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and database.is_out_of_reach(error):
                raise StoreError(f"cannot open the store: {error}: {self._path}") from error
            self._file.disconnect()  # it may be half open, and what it holds not known yet
            self._on_problem(
                f"cannot open the store yet, reports wait in memory: {error}: {self._path}"
            )
            if os.path.exists(self._path):
                self._incarnations = Reader(self._path).incarnations()

    # --- the writer's thread ---------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._write_until_closed()
        except BaseException as error:
            self._on_problem(f"cannot store reports any more, this is a bug: {error!r}")
            raise
        finally:
            self._file.disconnect()

    def _write_until_closed(self) -> None:
        retry_s: float | None = None  # None while the disk takes what we give it
        while (batch := self._take(retry_s)) is not None:
            try:
                self._file.in_good_file(partial(self._commit, batch))
            except (sqlite3.Error, StoreError, OSError) as error:
                self._put_back(batch)
                self._file.disconnect()
                if retry_s is None:
                    self._on_problem(
                        f"cannot write reports, they wait in memory: {error}: {self._path}"
                    )
                retry_s = min(2 * (retry_s or limits.STORE_RETRY_S / 2), limits.STORE_RETRY_MAX_S)
                if self._closing:
                    return
            else:
                if retry_s is not None:
                    self._on_problem(
                        f"reports are written again ({self.counts.dropped} dropped): {self._path}"
                    )
                retry_s = None
                self._tell(batch)

    def _take(self, retry_s: float | None) -> _Batch | None:
        """Wait for something to write, or for the next try; None when all is done."""
        with self._change:
            if retry_s is not None:
                self._change.wait_for(lambda: self._closing, retry_s)
            else:
                self._change.wait_for(self._has_work, limits.STORE_PRUNE_INTERVAL_S)
            if self._closing and not self._has_unwritten():
                return None
            reports, parcels = self._queue.take()
            # A state must not be on the disk before the reports of what it has behind it.
            behind = self._queue.has_own
            state, saved = (None, []) if behind else (self._state, self._on_saved)
            batch = _Batch(reports, parcels, self._unsaved, saved, state)
            self._unsaved = {}
            self._on_saved = self._on_saved if behind else []
            return batch

    def _has_work(self) -> bool:
        return self._closing or self._has_unwritten()

    def _has_unwritten(self) -> bool:
        acked = self._outbox.acked > self._file.position.acked
        return bool(
            self._queue or self._unsaved or self._on_saved or acked or self._journal_waits()
        )

    def _journal_waits(self) -> bool:
        return self._file.journal.lacks(self._state)

    def _put_back(self, batch: _Batch) -> None:
        with self._change:
            self._queue.put_back()
            self._unsaved = batch.incarnations | self._unsaved  # the newer number wins
            self._on_saved = batch.saved + self._on_saved

    def _tell(self, batch: _Batch) -> None:
        for one in batch.reports:
            one.tell()
        for told in (*batch.saved, *(parcel.done for parcel in batch.parcels)):
            told()
        if self._on_stored is not None and (batch.reports or batch.parcels):
            self._on_stored(self._file.position.last)

    def _open_file(self) -> None:
        """Have the file open. A new one lacks what the one before it knew; it is told with the next write."""
        found = self._file.connect()
        if found is None:
            return
        with self._change:
            self._stored = found.stored
            if not self._was_open:
                self._dropped += found.dropped
                self._expired += found.expired
            last = max(self._outbox.last, found.position.last)
            acked = max(self._outbox.acked, found.position.acked)
            self._outbox = Position(last, acked, found.position.unsent)
            known = self._incarnations
            self._missing = {
                path: last
                for path, last in known.items()
                if last > found.incarnations.get(path, -1)
            }
            self._incarnations = found.incarnations | self._missing
        self._was_open = True

    def _commit(self, batch: _Batch) -> None:
        """Write the batch in one transaction."""
        self._open_file()
        rows = [one.row for one in batch.reports] + self._unpack(batch.parcels)
        with self._change:
            wanted = Writing(
                rows=rows,
                incarnations=self._missing | batch.incarnations,
                dropped=self._dropped + self._queue.dropped,
                expired=self._expired,
                position=self._outbox,
                sends=self._on_stored is not None,
                now=self._clock(),
                keep_ns=self._keep_ns,
                max_count=self._max_count,
                state=batch.state,
            )
        written = self._file.write(wanted)
        self._missing = {}
        with self._change:
            self._stored = written.stored
            self._dropped += written.lost
            self._expired += written.expired
            acked = max(self._outbox.acked, written.position.acked)
            self._outbox = written.position._replace(acked=acked)
            self._queue.written()

    def _unpack(self, parcels: list[Parcel]) -> list[Row]:
        """The rows of what has come from below. It is stamped with our clock, as `keep` counts by it."""
        now = self._clock()
        return [row_of(report, now, body) for parcel in parcels for report, body in parcel.load()]
