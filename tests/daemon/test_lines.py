"""Nobody waits for whoever reads the daemon's own words, and nothing is lost in silence."""

from __future__ import annotations

import fcntl
import os

from supervisord_ng.daemon.lines import Lines


def test_what_nobody_takes_is_dropped_and_counted() -> None:
    """A pipe of one page that nobody reads: how many lines found no room is said when there is some."""
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        lines = Lines(writer)
        for number in range(100):
            lines.write(f"{number} {'x' * 100}")
        first = os.read(reader, 10**6).decode().splitlines()
        assert 0 < len(first) < 100
        lines.write("again")
        assert [f"{number} {'x' * 100}" for number in range(len(first))] == first
        missing = f"[{100 - len(first)} lines not shown: nobody took them in time]"
        assert [missing, "again"] == os.read(reader, 10**6).decode().splitlines()
    finally:
        os.close(reader)
        os.close(writer)


def test_nobody_there_is_no_error() -> None:
    """Supervision goes on when the terminal is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    Lines(writer).write("into the void")
    os.close(writer)
