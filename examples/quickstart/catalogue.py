"""Holds the index in memory and answers questions about it on a Unix socket.

It reads the index once, when it starts. Whoever starts it too early gets a catalogue that is nearly
empty and stays so: it works without an error and is of no use, and only a restart helps. Such a
fault is what escalation is for. Its client fails, restarting the client alone does not help, so
their supervisor gives up and the one above starts both of them anew.

A question is a line, ``size`` or ``find WORD``; the answer is one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import socketserver

import library
from supervisord_ng import worker

PATIENCE_S = 0.5  # for a question, before it is looked whether to stop

Catalogue = dict[
    str, list[tuple[str, int]]
]  # word: documents with that word and how often, most first


class Question(socketserver.StreamRequestHandler):
    """One connection, one question."""

    timeout = PATIENCE_S
    server: Server

    def handle(self) -> None:
        """Answer it."""
        verb, _, word = self.rfile.readline().decode().strip().partition(" ")
        answer = self.server.size if verb == "size" else self.server.catalogue.get(word, [])
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.UnixStreamServer):
    """The socket, and what is known behind it."""

    timeout = PATIENCE_S

    def __init__(self, size: int, catalogue: Catalogue) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(library.CATALOGUE_SOCKET)  # a predecessor's that was killed
        super().__init__(library.CATALOGUE_SOCKET, Question)
        self.size = size
        self.catalogue = catalogue


def load() -> tuple[int, Catalogue]:
    """Read how many documents are indexed by now, and their words."""
    catalogue: Catalogue = {}
    with contextlib.closing(library.open_index()) as index:
        index.execute("BEGIN")
        (size,) = index.execute("SELECT count(*) FROM documents WHERE state = 'indexed'").fetchone()
        for word, path, count in index.execute(
            "SELECT word, path, count FROM words JOIN documents ON id = document "
            "ORDER BY count DESC, path"
        ):
            catalogue.setdefault(word, []).append((path, count))
    return size, catalogue


def main() -> None:
    """Load, then answer until told to stop."""
    library.enter_work_dir()
    with worker.attach() as w:
        size, catalogue = load()
        with Server(size, catalogue) as server:
            print(f"loaded {size} documents with {len(catalogue)} different words")
            w.status(f"{size} documents")
            w.ready()
            while not w.stopping.is_set():
                with w.idle():
                    server.handle_request()


if __name__ == "__main__":
    main()
