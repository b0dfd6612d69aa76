"""The open file below the store, and the one transaction that writes to it.

Belongs to the writer's thread alone. Opens the file, notices when somebody took it away, moves a
corrupt one aside. Knows nothing of queues and of what happens when a transaction fails: it raises,
and may be asked again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.core.state import NodeState
from supervisord_ng.reports import database, outbox
from supervisord_ng.reports.journal import Journal
from supervisord_ng.reports.outbox import Position
from supervisord_ng.reports.queue import Row

_INSERT_REPORT = """INSERT INTO report
    (id, node, path, worker, reason, context, frame, ended, stored, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"""
_INSERT_INCARNATION = """INSERT INTO incarnation (path, last) VALUES (?, ?)
    ON CONFLICT (path) DO UPDATE SET last = max(last, excluded.last)"""
_INSERT_COUNTER = """INSERT INTO counter (name, value) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
_DELETE_EXPIRED = "DELETE FROM report WHERE stored < ? RETURNING seq"
_DELETE_OLDEST = """DELETE FROM report WHERE seq IN (SELECT seq FROM report ORDER BY seq LIMIT ?)
    RETURNING seq"""


class Found(NamedTuple):
    """What a file says that was just opened."""

    stored: int
    dropped: int
    expired: int
    incarnations: dict[str, int]
    position: Position


class Writing(NamedTuple):
    """What one transaction is to bring about.

    Args:
        rows: reports; those whose id is there already are left out.
        incarnations: the last numbers in use, by path.
        dropped, expired: the counters as they were.
        position: of the outbox, as the store knows it.
        sends: whether there is a node above, so that what goes unsent is lost.
        now: seconds since the epoch.
        keep_ns, max_count: what is kept.
        state: of the node, for the journal; None: not known yet.
    """

    rows: Sequence[Row]
    incarnations: Mapping[str, int]
    dropped: int
    expired: int
    position: Position
    sends: bool
    now: float
    keep_ns: int
    max_count: int
    state: NodeState | None = None


class Written(NamedTuple):
    """What a transaction has brought about: reports on disk, the growth of the counters, the outbox."""

    stored: int
    lost: int
    expired: int
    position: Position


class StoreFile:
    """The file at one path. `on_problem` is told, in words, when it is not the one that it was.

    Attributes:
        journal: what runs, in the same file.
        position: of the outbox, as the open file says it.
    """

    def __init__(self, path: str, on_problem: Callable[[str], None], journal: Journal) -> None:
        self.journal = journal
        self.position = Position()
        self._path = path
        self._on_problem = on_problem
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None  # device and inode of what is open
        self._stored = 0
        self._counters = (0, 0)

    def connect(self) -> Found | None:
        """Have the file open; say what it holds unless it was open already, also after somebody took that away.

        Raises:
            sqlite3.Error, StoreError, OSError: it cannot be opened.
        """
        if self._connection is not None:
            if self._identity == _identity(self._path):
                return None
            self._on_problem(f"the store was moved or deleted, a new one is begun: {self._path}")
            self.disconnect()
        self._connection = connection = database.connect_writer(self._path)
        self._identity = _identity(self._path)
        self._stored = connection.execute("SELECT count(*) FROM report").fetchone()[0]
        incarnations = dict(connection.execute("SELECT path, last FROM incarnation"))
        counters = dict(connection.execute("SELECT name, value FROM counter"))
        self._counters = (counters.get("dropped", 0), counters.get("expired", 0))
        self.position = outbox.read(connection)
        return Found(self._stored, *self._counters, incarnations, self.position)

    def disconnect(self) -> None:
        """Close the file."""
        self.journal.forget()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def in_good_file(self, act: Callable[[], None]) -> None:
        """Do `act`; if it finds the file corrupt, move that aside and do it again in a new one."""
        try:
            act()
        except sqlite3.DatabaseError as error:
            if not database.is_corrupt(error):
                raise
            self.disconnect()
            aside = database.move_aside(self._path)
            self._on_problem(
                f"the store was corrupt ({error}), it is now {aside}; a new one is begun"
            )
            act()

    def write(self, wanted: Writing) -> Written:
        """Write all of it, and remove what is too old or too much, in one transaction of the open file."""
        connection = self._connection
        assert connection is not None
        lacks = self.journal.lacks(wanted.state)
        pressing = wanted.state is not None and lacks and self.journal.is_pressing(wanted.state)
        reports_only = bool(wanted.rows or wanted.incarnations or not lacks)
        database.set_durable(connection, durable=reports_only or pressing)
        connection.execute("BEGIN IMMEDIATE")
        if wanted.state is not None and lacks:
            self.journal.write(connection, wanted.state)
        if self.position.last < wanted.position.last:
            outbox.go_on_after(connection, wanted.position.last)
        rows = wanted.rows
        added = connection.executemany(_INSERT_REPORT, rows).rowcount if rows else 0
        connection.executemany(_INSERT_INCARNATION, wanted.incarnations.items())
        position = outbox.enter(connection, self.position, added, wanted.position.acked)
        gone = _prune(connection, wanted, self._stored + added)
        position, unsent = outbox.removed(position, gone)
        lost = unsent if wanted.sends else 0
        counters = (wanted.dropped + lost, wanted.expired + len(gone) - lost)
        if counters != self._counters:
            connection.executemany(
                _INSERT_COUNTER, zip(("dropped", "expired"), counters, strict=True)
            )
        connection.execute("COMMIT")
        self._stored += added - len(gone)
        self._counters, self.position = counters, position
        return Written(self._stored, lost, len(gone) - lost, position)


def _prune(connection: sqlite3.Connection, wanted: Writing, stored: int) -> list[int]:
    """Remove what is too old or too much, the oldest first; return the numbers of what is gone."""
    oldest = wanted.now - wanted.keep_ns / limits.SECOND
    gone = connection.execute(_DELETE_EXPIRED, (oldest,)).fetchall()
    surplus = stored - len(gone) - wanted.max_count
    if surplus > 0:
        gone += connection.execute(_DELETE_OLDEST, (surplus,)).fetchall()
    return [number for (number,) in gone]


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of the file at `path`; None when there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
