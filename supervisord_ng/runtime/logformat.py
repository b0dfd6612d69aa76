"""How a block of output is written into a log: as it came, with times, or as JSON.

`raw` without times touches nothing. The others go by line, so that an unfinished line waits here for its end.
"""

from __future__ import annotations

import time
from typing import Protocol

import msgspec

from supervisord_ng import limits
from supervisord_ng.model.logs import LineSplitter
from supervisord_ng.model.spec import LogSpec
from supervisord_ng.runtime import clock


class LogFormat(Protocol):
    """What stands between one stream of a worker and its log."""

    def feed(self, block: bytes) -> bytes:
        """Return what shall be written now."""

    def flush(self) -> bytes:
        """Return the unfinished line, because nothing will finish it."""


class Raw:
    """The bytes as they came."""

    def feed(self, block: bytes) -> bytes:
        """All of them."""
        return block

    def flush(self) -> bytes:
        """Nothing was kept."""
        return b""


class Timed:
    """Each line begins with the time at which it was read, in UTC: `2026-01-31T12:00:00.000Z line`."""

    def __init__(self) -> None:
        self._splitter = LineSplitter()

    def feed(self, block: bytes) -> bytes:
        """The lines that are whole."""
        return self._timed(self._splitter.feed_whole(block))

    def flush(self) -> bytes:
        """The line that has no end."""
        return self._timed(_ended(self._splitter.flush()))

    def _timed(self, lines: bytes) -> bytes:
        if not lines:
            return b""
        now = clock.wall_s()
        begin = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        prefix = f"{begin}.{int(now % 1 * 1000):03}Z ".encode()
        return prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"


class Json:
    """Each line is an object, `model.logs.JsonLine`. Bytes that are not UTF-8 are replaced.

    Args:
        stream: "stdout" or "stderr".
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._splitter = LineSplitter()
        self._encode = msgspec.json.Encoder().encode

    def feed(self, block: bytes) -> bytes:
        """The lines that are whole."""
        # Thousands of small objects at a time stay in the processor's cache, tens of thousands do not.
        size, feed = limits.LOG_FORMAT_BYTES, self._splitter.feed_whole
        pieces = (block[at : at + size] for at in range(0, len(block), size))
        return b"".join([self._encoded(feed(piece)) for piece in pieces])

    def flush(self) -> bytes:
        """The line that has no end."""
        return self._encoded(_ended(self._splitter.flush()))

    def _encoded(self, lines: bytes) -> bytes:
        if not lines:
            return b""
        prefix = b'{"time":%r,"stream":"%s","line":' % (clock.wall_s(), self._stream.encode())
        texts = lines[:-1].decode("utf-8", "replace").split("\n")
        return prefix + (b"}\n" + prefix).join(map(self._encode, texts)) + b"}\n"


def _ended(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def log_format(spec: LogSpec, stream: str) -> LogFormat:
    """The format of one stream of a worker whose log is as `spec` says."""
    if spec.format == "json":
        return Json(stream)
    return Timed() if spec.timestamps else Raw()
