"""The outbox: those reports of the store whose numbers are higher than the last one acknowledged.

There is no second copy and nothing to be moved: a report is in the outbox from the transaction that
stores it, and out of it with the acknowledgement of the node above. The number is that of the row,
which SQLite never gives twice (https://sqlite.org/autoinc.html). What to send and when is decided in
`core.outbox`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from supervisord_ng import limits
from supervisord_ng.errors import StoreError
from supervisord_ng.model.reports import CrashReport
from supervisord_ng.reports import database
from supervisord_ng.wire import parcel

_LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'report'"
_ACKED = "SELECT value FROM counter WHERE name = 'acked'"
_SAVE_ACKED = """INSERT INTO counter (name, value) VALUES ('acked', ?)
    ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)"""
_COUNT = "SELECT count(*) FROM report WHERE seq > ? AND seq <= ?"
_BODIES = "SELECT seq, body FROM report WHERE seq > ? AND seq <= ? ORDER BY seq"
_DECODER = msgspec.json.Decoder(CrashReport)
_CUT = "log, stacks and traceback did not fit into a message between nodes"


class Position(NamedTuple):
    """The last number given to a report, the last one acknowledged, and how many reports lie between."""

    last: int = 0
    acked: int = 0
    unsent: int = 0


class Load(NamedTuple):
    """Reports with numbers above `after` up to `upto`, packed for the link."""

    after: int
    upto: int
    size: int
    packed: bytes


def read(connection: sqlite3.Connection) -> Position:
    """How far the reports of this file have come."""
    last, acked = _number(connection, _LAST), _number(connection, _ACKED)
    return Position(last, acked, connection.execute(_COUNT, (acked, last)).fetchone()[0])


def go_on_after(connection: sqlite3.Connection, last: int) -> None:
    """Let the numbers of a new file go on where those of the old one ended: they are given once."""
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'report'")
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('report', ?)", (last,))


def enter(connection: sqlite3.Connection, was: Position, added: int, acked: int) -> Position:
    """Part of the transaction that added so many reports: remember how far the node above has them.

    Args:
        connection: in a transaction.
        was: the position before it.
        added: reports stored by it.
        acked: the number that was acknowledged last, perhaps long ago.
    """
    unsent = was.unsent + added
    if acked > was.acked:
        unsent -= connection.execute(_COUNT, (was.acked, acked)).fetchone()[0]
        connection.execute(_SAVE_ACKED, (acked,))
    return Position(_number(connection, _LAST), max(acked, was.acked), unsent)


def removed(position: Position, numbers: Iterable[int]) -> tuple[Position, int]:
    """The position when these reports are not kept any more, and how many of them were never sent."""
    lost = sum(number > position.acked for number in numbers)
    return position._replace(unsent=position.unsent - lost), lost


def load(path: str, after: int, upto: int) -> Load:
    """Read and pack what comes after a number: as much as one frame holds, perhaps nothing. Blocks.

    Raises:
        StoreError: the store cannot be read.
    """
    bodies: list[bytes] = []
    size, reached = 0, upto
    try:
        with closing(database.connect_reader(path)) as connection:
            for number, body in connection.execute(_BODIES, (after, upto)):
                if bodies and size + len(body) > limits.LINK_REPORTS_BYTES:
                    break
                bodies.append(body)
                size += len(body)
                reached = number
            else:
                reached = upto
    except sqlite3.Error as error:
        raise StoreError(f"cannot read reports to send them: {error}: {path}") from error
    packed, size = parcel.pack(bodies)
    if len(packed) > limits.LINK_PACKED_MAX or size > limits.LINK_UNPACKED_MAX:
        packed, size = parcel.pack(map(_without_evidence, bodies))
    return Load(after, reached, size, packed)


def _without_evidence(body: bytes) -> bytes:
    """A report that is too large for a frame, without what makes it large; it stays whole in this store."""
    report = _DECODER.decode(body)
    told = _CUT if report.message is None else f"{report.message}; {_CUT}"
    return msgspec.json.encode(
        replace(report, log_tail=(), stacks=None, traceback=None, message=told)
    )


def _number(connection: sqlite3.Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return 0 if row is None else int(row[0])
