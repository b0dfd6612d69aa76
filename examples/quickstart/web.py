"""A web page over the catalogue. Refuses to start over one that is nearly empty."""

from __future__ import annotations

import html
import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import library
from supervisord_ng import worker

ADDRESS = ("127.0.0.1", 0)  # any free port; `sng status` shows which
DOCUMENTS_MIN = 50  # fewer make no site
PATIENCE_S = 0.5  # for a request, before it is looked whether to stop

PAGE = """<!doctype html><meta charset="utf-8"><title>Quickstart</title>
<h1>{size} documents</h1>
<form><input name="word" placeholder="supervisor" value="{word}"><button>Find</button></form>
<ol>{found}</ol>
"""


def ask(question: str) -> Any:
    """Ask the catalogue, which is on this host and has everything in memory: it answers at once."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(library.CATALOGUE_SOCKET)
        connection.sendall(question.encode() + b"\n")
        with connection.makefile("rb") as answer:
            return json.loads(answer.readline())


class Page(BaseHTTPRequestHandler):
    """The only page there is: ``/?word=supervisor``."""

    timeout = PATIENCE_S

    def do_GET(self) -> None:
        """Show the documents that have the word."""
        query = parse_qs(urlsplit(self.path).query)
        word = query.get("word", [""])[0].split(maxsplit=1)[:1]
        found = ask(f"find {word[0]}") if word else []
        page = PAGE.format(
            size=ask("size"),
            word=html.escape("".join(word)),
            found="".join(f"<li>{html.escape(path)}: {count}" for path, count in found),
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


class Server(HTTPServer):
    """Looks up from waiting now and then."""

    timeout = PATIENCE_S


def main() -> None:
    """Serve until told to stop; exit 1 when there is nothing worth serving."""
    library.enter_work_dir()
    with worker.attach() as w:
        size = ask("size")
        if size < DOCUMENTS_MIN:
            sys.exit(f"cannot serve: the catalogue has {size} documents, not {DOCUMENTS_MIN}")
        with Server(ADDRESS, Page) as server:
            url = f"http://127.0.0.1:{server.server_port}/"
            print(f"serving {size} documents on {url}")
            w.status(url)
            w.ready()
            while not w.stopping.is_set():
                with w.idle():
                    server.handle_request()


if __name__ == "__main__":
    main()
