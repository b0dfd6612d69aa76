"""One of a pool: claims a document, hashes it, counts its words, stores both, claims the next.

It is written as a worker should be: it handles no error that it cannot repair. A bad document ends
it, the supervisor starts it anew, and what it had claimed is tried once more and then set aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections import Counter

import library
from supervisord_ng import worker

ATTEMPTS_MAX = 2
NAME = os.environ.get("SNG_NAME", "by hand")
PACE_S = 0.1  # for each document, so that a person can watch
REST_S = 0.5  # between two looks at an empty queue


def main() -> None:
    """Index until told to stop."""
    library.enter_work_dir()
    with worker.attach() as w, contextlib.closing(library.open_index()) as index:
        take_over(index)
        w.ready()
        while not w.stopping.is_set():
            claimed = claim(index)
            if claimed is None:
                w.status("nothing to do")
                with w.idle():  # waiting for work is no hang
                    w.stopping.wait(REST_S)
                continue
            number, path = claimed
            w.beat()  # one document further: this is the progress that the supervisor watches
            w.status(f"indexing {path}")
            store(index, number, read_document(path))
            w.stopping.wait(PACE_S)


def take_over(index: sqlite3.Connection) -> None:
    """Put back what a predecessor of the same name died over; the second time, set it aside."""
    left = index.execute(
        "SELECT id, path, attempts FROM documents WHERE state = 'claimed' AND claimed_by = ?",
        (NAME,),
    ).fetchall()
    for number, path, attempts in left:
        state = "waiting" if attempts < ATTEMPTS_MAX else "set aside"
        index.execute("UPDATE documents SET state = ? WHERE id = ?", (state, number))
        print(f"my predecessor died over {path}, attempt {attempts}: {state}")


def claim(index: sqlite3.Connection) -> tuple[int, str] | None:
    """Take the next document off the queue; None when there is none."""
    return index.execute(  # type: ignore[no-any-return]  # the two columns are NOT NULL
        "UPDATE documents SET state = 'claimed', claimed_by = ?, attempts = attempts + 1 "
        "WHERE id = (SELECT id FROM documents WHERE state = 'waiting' ORDER BY id LIMIT 1) "
        "RETURNING id, path",
        (NAME,),
    ).fetchone()


def read_document(path: str) -> bytes:
    """Return the content of a document, wherever it moved to.

    The bug of this program: a document that moved to itself is followed for ever.
    """
    while True:
        with open(os.path.join(library.DOCUMENTS, path), "rb") as file:
            content = file.read()
        if not content.startswith(b"moved: "):
            return content
        path = content.removeprefix(b"moved: ").decode()


def store(index: sqlite3.Connection, number: int, content: bytes) -> None:
    """Write hash and words of a document in one transaction."""
    words = Counter(content.decode().split())
    rows = [(word, number, count) for word, count in words.items()]
    index.execute("BEGIN IMMEDIATE")
    index.executemany("INSERT INTO words (word, document, count) VALUES (?, ?, ?)", rows)
    index.execute(
        "UPDATE documents SET state = 'indexed', sha256 = ? WHERE id = ?",
        (hashlib.sha256(content).hexdigest(), number),
    )
    index.execute("COMMIT")


if __name__ == "__main__":
    main()
