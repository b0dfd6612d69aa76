"""What the workers of the quickstart share: where things are, and the index in SQLite.

The index is also the queue of work. It outlives every worker, and that is the point: a worker that
dies loses nothing but the document it had in hand, and its successor finds that one by name.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile

CATALOGUE_SOCKET = "catalogue.sock"
DOCUMENTS = "documents"
INDEX = "index.sqlite"

SCHEMA = """
CREATE TABLE documents (
    id         INTEGER PRIMARY KEY,
    path       TEXT NOT NULL UNIQUE,
    state      TEXT NOT NULL DEFAULT 'waiting',  -- waiting, claimed, indexed, set aside
    claimed_by TEXT,
    attempts   INTEGER NOT NULL DEFAULT 0,
    sha256     TEXT
);
CREATE TABLE words (
    word     TEXT NOT NULL,
    document INTEGER NOT NULL REFERENCES documents (id),
    count    INTEGER NOT NULL,
    PRIMARY KEY (word, document)
) WITHOUT ROWID;
"""


def enter_work_dir() -> None:
    """Go to the directory that holds the documents and the index; make it when it is missing.

    From here on every path is relative, which also keeps the socket's path as short as unix(7)
    wants it.
    """
    fallback = os.path.join(tempfile.gettempdir(), f"sng-quickstart-{os.getuid()}")
    work_dir = os.environ.get("QUICKSTART_DIR", fallback)
    os.makedirs(work_dir, exist_ok=True)
    os.chdir(work_dir)


def open_index() -> sqlite3.Connection:
    """Open the index. Every statement is a transaction of its own unless one is begun."""
    index = sqlite3.connect(INDEX, isolation_level=None, timeout=10)
    index.execute("PRAGMA journal_mode = WAL")
    index.execute("PRAGMA synchronous = NORMAL")
    return index
