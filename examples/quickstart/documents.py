"""The one-shot step: makes the documents and an empty index, the same ones each time, then ends.

Two of the documents are bad, as some always are: one is not UTF-8, one says that it moved to
itself.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil

import library

COUNT = 150
MALFORMED = 20  # in the order in which they are indexed
CIRCULAR = 70
SHELVES = ("guides", "letters", "notes")
VOCABULARY = (
    "actor crash deadline effect escalate event exit heartbeat incarnation intensity journal link "
    "message monitor node period process queue ready reap report restart shutdown signal socket "
    "start state strategy supervisor tree worker"
).split()


def main() -> None:
    """Start from nothing: old documents and an old index are removed."""
    library.enter_work_dir()
    shutil.rmtree(library.DOCUMENTS, ignore_errors=True)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(library.INDEX + suffix)
    paths = [write_document(number) for number in range(1, COUNT + 1)]
    with contextlib.closing(library.open_index()) as index:
        index.executescript(library.SCHEMA)
        index.executemany("INSERT INTO documents (path) VALUES (?)", [(path,) for path in paths])
    print(f"made {len(paths)} documents in {os.path.abspath(library.DOCUMENTS)}")


def write_document(number: int) -> str:
    """Write one document; return its path below the documents' directory."""
    path = os.path.join(SHELVES[number % len(SHELVES)], f"{number:03}.txt")
    chance = random.Random(number)
    content = " ".join(chance.choices(VOCABULARY, k=2_000)).encode()
    if number == MALFORMED:
        content = content[:500] + b"\xff\xfe" + content[500:]
    if number == CIRCULAR:
        content = f"moved: {path}".encode()
    place = os.path.join(library.DOCUMENTS, path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb") as file:
        file.write(content)
    return path


if __name__ == "__main__":
    main()
