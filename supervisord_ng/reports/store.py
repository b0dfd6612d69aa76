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
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import msgspec

from supervisord_ng import limits
from supervisord_ng.errors import StoreError
from supervisord_ng.model.reports import CrashReport
from supervisord_ng.reports import database
from supervisord_ng.reports.reader import Reader
from supervisord_ng.reports.stats import last_frame

_INSERT_REPORT = """INSERT INTO report
    (id, node, path, worker, reason, context, frame, ended, stored, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"""
_INSERT_INCARNATION = """INSERT INTO incarnation (path, last) VALUES (?, ?)
    ON CONFLICT (path) DO UPDATE SET last = max(last, excluded.last)"""
_INSERT_COUNTER = """INSERT INTO counter (name, value) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
_DELETE_EXPIRED = "DELETE FROM report WHERE stored < ?"
_DELETE_OLDEST = "DELETE FROM report WHERE seq IN (SELECT seq FROM report ORDER BY seq LIMIT ?)"


class Counts(NamedTuple):
    """Reports on disk, in memory, lost to a bound, and removed as `keep` and `max_count` say.

    The last two grow over the life of the state_dir.
    """

    stored: int
    waiting: int
    dropped: int
    expired: int


class _Waiting(NamedTuple):
    """A report on its way to the disk, already in the shape in which it goes there."""

    report_id: str
    columns: tuple[object, ...]
    body: bytes
    done: Callable[[str], None] | None


class _Batch(NamedTuple):
    """What goes into one transaction."""

    reports: list[_Waiting]
    incarnations: dict[str, int]
    saved: list[Callable[[], None]]


class Store:
    """The store of one node. Made by `open`; safe to use from any thread."""

    def __init__(
        self,
        path: str,
        keep_ns: int,
        max_count: int,
        on_problem: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """Use `open` instead."""
        self._path = path
        self._keep_ns = keep_ns
        self._max_count = max_count
        self._on_problem = on_problem
        self._clock = clock
        self._connection: sqlite3.Connection | None = (
            None  # this and the next four: the writer's own
        )
        self._file: tuple[int, int] | None = None  # device and inode of what is open
        self._was_open = False
        self._counters_on_disk = (0, 0)
        self._missing: dict[str, int] = {}  # incarnations that the open file lacks: it is a new one
        self._change = threading.Condition()  # guards everything below
        self._queue: deque[_Waiting] = deque()
        self._in_flight: list[_Waiting] = []
        self._waiting_bytes = 0
        self._incarnations: dict[str, int] = {}
        self._unsaved: dict[str, int] = {}
        self._on_saved: list[Callable[[], None]] = []
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
        clock: Callable[[], float] = time.time,
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
            clock: seconds since the epoch.

        Raises:
            StoreError: the path cannot be opened at all, or belongs to a newer version or another
                program; or its incarnation numbers cannot be read, without which old ones would
                be used again.
        """
        store = cls(path, keep_ns, max_count, on_problem, clock)
        store._open_first()
        store._thread.start()
        return store

    @property
    def counts(self) -> Counts:
        """How many reports are where."""
        with self._change:
            waiting = len(self._queue) + len(self._in_flight)
            return Counts(self._stored, waiting, self._dropped, self._expired)

    def append(self, report: CrashReport, done: Callable[[str], None] | None = None) -> None:
        """Store `report`, soon; return at once. One whose id is there already is not repeated.

        Where the bounds on what waits are reached, the oldest that waits is dropped and counted.
        `done` is called with the id, in the writer's thread, when the report survives the loss of
        power; never for one that was dropped. It must not raise.
        """
        columns = (
            report.node,
            report.path,
            report.worker,
            report.reason,
            report.context.value,
            last_frame(report.traceback),
            report.ended,
            self._clock(),
        )
        waiting = _Waiting(report.id, columns, msgspec.json.encode(report), done)
        with self._change:
            if self._closing or not self._make_room(len(waiting.body)):
                self._dropped += 1
                return
            self._queue.append(waiting)
            self._waiting_bytes += len(waiting.body)
            if len(self._queue) == 1:  # otherwise it has been told already
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
            self._in_good_file(self._connect)
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and database.is_out_of_reach(error):
                raise StoreError(f"cannot open the store: {error}: {self._path}") from error
            self._disconnect()  # it may be half open, and what it holds not known yet
            self._on_problem(
                f"cannot open the store yet, reports wait in memory: {error}: {self._path}"
            )
            if os.path.exists(self._path):
                self._incarnations = Reader(self._path).incarnations()

    def _make_room(self, size: int) -> bool:
        """Drop the oldest in the queue until `size` more bytes may wait; say whether they may.

        What is being written is out of reach; where that alone fills the bounds, the new one goes.
        """
        if size > limits.REPORTS_WAITING_BYTES_MAX:
            return False  # for its sake nothing else should go
        while self._is_full(size) and self._queue:
            self._waiting_bytes -= len(self._queue.popleft().body)
            self._dropped += 1
        return not self._is_full(size)

    def _is_full(self, size: int) -> bool:
        count = len(self._queue) + len(self._in_flight)
        too_many = count >= limits.REPORTS_WAITING_MAX
        return too_many or self._waiting_bytes + size > limits.REPORTS_WAITING_BYTES_MAX

    # --- the writer's thread ---------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._write_until_closed()
        except BaseException as error:
            self._on_problem(f"cannot store reports any more, this is a bug: {error!r}")
            raise
        finally:
            self._disconnect()

    def _write_until_closed(self) -> None:
        retry_s: float | None = None  # None while the disk takes what we give it
        while (batch := self._take(retry_s)) is not None:
            try:
                self._in_good_file(partial(self._commit, batch))
            except (sqlite3.Error, StoreError, OSError) as error:
                self._put_back(batch)
                self._disconnect()
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
            if self._closing and not self._queue and not self._unsaved and not self._on_saved:
                return None
            count = min(len(self._queue), limits.STORE_BATCH_MAX)
            self._in_flight = [self._queue.popleft() for _ in range(count)]
            batch = _Batch(self._in_flight, self._unsaved, self._on_saved)
            self._unsaved, self._on_saved = {}, []
            return batch

    def _has_work(self) -> bool:
        return bool(self._closing or self._queue or self._unsaved or self._on_saved)

    def _put_back(self, batch: _Batch) -> None:
        with self._change:
            self._queue.extendleft(reversed(batch.reports))
            self._in_flight = []
            self._unsaved = batch.incarnations | self._unsaved  # the newer number wins
            self._on_saved = batch.saved + self._on_saved

    def _tell(self, batch: _Batch) -> None:
        for one in batch.reports:
            if one.done is not None:
                one.done(one.report_id)
        for saved in batch.saved:
            saved()

    def _in_good_file(self, act: Callable[[], None]) -> None:
        """Do `act`; if it finds the file corrupt, move that aside and do it again in a new one."""
        try:
            act()
        except sqlite3.DatabaseError as error:
            if not database.is_corrupt(error):
                raise
            self._disconnect()
            aside = database.move_aside(self._path)
            self._on_problem(
                f"the store was corrupt ({error}), it is now {aside}; a new one is begun"
            )
            act()

    def _connect(self) -> None:
        """Have the file at our path open, also when somebody took away the one that we had."""
        if self._connection is not None:
            if self._file == _identity(self._path):
                return
            self._on_problem(f"the store was moved or deleted, a new one is begun: {self._path}")
            self._disconnect()
        self._connection = connection = database.connect_writer(self._path)
        self._file = _identity(self._path)
        stored = connection.execute("SELECT count(*) FROM report").fetchone()[0]
        incarnations = dict(connection.execute("SELECT path, last FROM incarnation"))
        counters = dict(connection.execute("SELECT name, value FROM counter"))
        self._counters_on_disk = (counters.get("dropped", 0), counters.get("expired", 0))
        with self._change:
            self._stored = stored
            if not self._was_open:
                self._dropped += self._counters_on_disk[0]
                self._expired += self._counters_on_disk[1]
            known = self._incarnations
            self._missing = {
                path: last for path, last in known.items() if last > incarnations.get(path, -1)
            }
            self._incarnations = incarnations | self._missing
        self._was_open = True

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, batch: _Batch) -> None:
        """Write the batch, and remove what is too old or too much, in one transaction."""
        self._connect()
        connection = self._connection
        assert connection is not None
        rows = [(one.report_id, *one.columns, one.body) for one in batch.reports]
        with self._change:
            stored, dropped, expired = self._stored, self._dropped, self._expired
            keep_ns, max_count = self._keep_ns, self._max_count
        connection.execute("BEGIN IMMEDIATE")
        stored += connection.executemany(_INSERT_REPORT, rows).rowcount if rows else 0
        connection.executemany(_INSERT_INCARNATION, (self._missing | batch.incarnations).items())
        oldest = self._clock() - keep_ns / limits.SECOND
        gone = connection.execute(_DELETE_EXPIRED, (oldest,)).rowcount
        if stored - gone > max_count:
            gone += connection.execute(_DELETE_OLDEST, (stored - gone - max_count,)).rowcount
        counters = (dropped, expired + gone)
        if counters != self._counters_on_disk:
            connection.executemany(
                _INSERT_COUNTER, zip(("dropped", "expired"), counters, strict=True)
            )
        connection.execute("COMMIT")
        self._counters_on_disk = counters
        self._missing = {}
        with self._change:
            self._stored = stored - gone
            self._expired += gone
            self._in_flight = []
            self._waiting_bytes -= sum(len(one.body) for one in batch.reports)


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of the file at `path`; None when there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
