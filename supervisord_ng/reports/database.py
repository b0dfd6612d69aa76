"""The SQLite file below the store: its schema, its versions, and how writers and readers open it.

Knows SQL and files, nothing of queues, threads or what a report means to anyone. `reports.store`
writes through it, `reports.reader` reads.
"""

from __future__ import annotations

import os
import sqlite3
from urllib.parse import quote

from supervisord_ng import limits
from supervisord_ng.errors import StoreError

# Each entry brings the schema from the version of its index to the next; entries are only ever
# appended.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # `seq` is the order of arrival and therefore the order of the list: clocks of nodes are not
        # compared. `stored` is our own clock at arrival, by which `keep` counts. `body` comes last,
        # so that scans over the columns before it do not read it.
        """CREATE TABLE report (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            node TEXT NOT NULL,
            path TEXT NOT NULL,
            worker TEXT,
            reason TEXT NOT NULL,
            context TEXT NOT NULL,
            frame TEXT,
            ended REAL NOT NULL,
            stored REAL NOT NULL,
            body BLOB NOT NULL
        )""",
        "CREATE INDEX report_stored ON report (stored)",
        "CREATE TABLE incarnation (path TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    ),
    (
        """CREATE TABLE journal (
            kind TEXT NOT NULL,
            path TEXT NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (kind, path)
        ) WITHOUT ROWID""",
    ),
)
SCHEMA_VERSION = len(_MIGRATIONS)
_WITH_JOURNAL = 2

_COMPANIONS = ("", "-wal", "-shm")  # https://sqlite.org/wal.html
_NO_SHM = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
)


def connect_writer(path: str) -> sqlite3.Connection:
    """Open the store for writing, make it when it is missing, bring it up to our schema.

    Every transaction is begun and ended by hand, and is on the disk when COMMIT returns, unless
    `set_durable` says otherwise: WAL with synchronous=FULL survives the loss of power. It costs one
    fsync for a batch, and nothing more for a batch of 500 than for one (NORMAL, which only survives
    our own death, saves 0.2 ms of 0.3 for one report).

    Raises:
        StoreError: the file belongs to a newer version of us, or to another program.
        sqlite3.Error: the file cannot be opened, read or written.
    """
    connection = sqlite3.connect(
        path,
        timeout=limits.STORE_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,  # opened by the one who starts the writer thread
    )
    try:
        _check_version(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        set_durable(connection, durable=True)
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def set_durable(connection: sqlite3.Connection, *, durable: bool) -> None:
    """Let the next transactions survive the loss of power, or only our own death (no fsync in WAL mode)."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")


def connect_reader(path: str) -> sqlite3.Connection:
    """Open the store for reading, with or without a daemon that writes to it.

    A WAL database cannot be read without its -shm file (https://sqlite.org/wal.html#readonly).
    Where that is missing and cannot be made, because the directory is read-only or the disk full,
    nobody can be writing either; then the main file alone is everything, provided that no -wal file
    holds more.

    Raises:
        StoreError: there is no store, or it belongs to a newer version of us or to another program.
        sqlite3.Error: the file cannot be opened or read.
    """
    if not os.path.exists(path):
        raise StoreError(
            f"cannot read reports: no such file: {path} (no daemon has run with this state_dir)"
        )
    try:
        return _connect_uri(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if _code(error) not in _NO_SHM or _has_bytes(path + "-wal"):
            raise
        return _connect_uri(path, "mode=ro&immutable=1")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Say whether the file holds nothing yet: its maker died, or had no space, at the start."""
    return _version(connection) == 0


def has_journal(connection: sqlite3.Connection) -> bool:
    """Say whether the file is of a version that keeps a journal."""
    return _version(connection) >= _WITH_JOURNAL


def is_corrupt(error: sqlite3.Error) -> bool:
    """Say whether SQLite found that the file is not, or no longer, a database."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_out_of_reach(error: sqlite3.Error) -> bool:
    """Say whether the path is wrong or rights are missing, which waiting does not mend."""
    return _code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY)


def move_aside(path: str) -> str:
    """Rename a corrupt store and what belongs to it; return its new name. Nothing is ever deleted.

    The main file goes first: SQLite itself discards a -wal that it finds beside an empty database,
    should we die in between.

    Raises:
        StoreError: STORE_ASIDE_MAX of them lie there already.
        OSError: it cannot be renamed.
    """
    for number in range(1, limits.STORE_ASIDE_MAX + 1):
        aside = f"{path}.corrupt-{number}"
        if not os.path.lexists(aside):
            for companion in _COMPANIONS:
                if os.path.lexists(path + companion):
                    os.rename(path + companion, aside + companion)
            return aside
    raise StoreError(
        f"cannot replace the corrupt store {path}: {limits.STORE_ASIDE_MAX} others lie beside it"
        " (check the disk, then move the files *.corrupt-* away)"
    )


def _code(error: sqlite3.Error) -> int:
    """The primary result code, the low byte: https://sqlite.org/rescode.html#extrc."""
    # Errors of the Python module itself carry no code.
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _has_bytes(path: str) -> bool:
    return os.path.exists(path) and os.path.getsize(path) > 0


def _connect_uri(path: str, query: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(path)}?{query}",
        timeout=limits.STORE_BUSY_TIMEOUT_S,
        isolation_level=None,
        uri=True,
    )
    try:
        _check_version(connection, path)  # the first statement is what really opens the file
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_version(connection: sqlite3.Connection, path: str) -> None:
    version = _version(connection)
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"cannot use the store {path}: it has schema {version},"
            f" this version knows up to {SCHEMA_VERSION}"
            " (it was written by a newer supervisord-ng: run that, or choose another state_dir)"
        )
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
        raise StoreError(
            f"cannot use the store {path}: it is the database of another program"
            " (choose another state_dir)"
        )


def _migrate(connection: sqlite3.Connection) -> None:
    """Run the missing migrations in one transaction: a version is there whole or not at all."""
    if _version(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for statements in _MIGRATIONS[_version(connection) :]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
