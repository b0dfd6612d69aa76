"""What the writer and the readers of worker logs must agree on: file names, and how bytes become lines.

Pure. The writers are `runtime.logfile` and `runtime.logformat`, the readers are `reports.logtail` and
`reports.logfollow`; the law of imports keeps those apart, so that they meet here.
"""

from __future__ import annotations

import msgspec

from supervisord_ng import limits

CUT_MARK = b" [...]"  # stands where a line that is too long was cut or goes on


def backup_path(path: str, number: int) -> str:
    """Name the file at `path` (number 0) or its backup: 1 is the newest, as logrotate(8) counts."""
    return path if number == 0 else f"{path}.{number}"


class JsonLine(msgspec.Struct, frozen=True):
    """One line of a log with `format = "json"`. `time` is in seconds since the epoch."""

    time: float
    stream: str
    line: str


def text_of(line: bytes, *, is_json: bool) -> bytes:
    """Return what the worker wrote, of one line of its log.

    What is no object of ours in a JSON log (a word about lost output, an earlier format) stays as it is.
    """
    if not is_json:
        return line
    try:
        return _DECODER.decode(line).line.encode()
    except msgspec.MsgspecError:
        return line


_DECODER = msgspec.json.Decoder(JsonLine)


class LineSplitter:
    """Turns blocks of bytes into complete lines, keeping no more than one unfinished line.

    A line longer than `limits.LOG_LINE_MAX` comes out in pieces of that size; each piece but the last ends
    in `CUT_MARK`, so that a worker that never writes a newline costs bounded memory and is still seen.
    """

    def __init__(self) -> None:
        self._pending = b""

    @property
    def pending_bytes(self) -> int:
        """How many bytes of an unfinished line are held."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines, without their newlines, that `data` completes."""
        block = self.feed_whole(data)
        return block[:-1].split(b"\n") if block else []

    def feed_whole(self, data: bytes) -> bytes:
        """Return the same in one piece, each line with its newline."""
        cut = data.rfind(b"\n") + 1
        if cut == 0:
            whole, self._pending = b"", self._pending + data
        else:
            whole, self._pending = self._pending + data[:cut], data[cut:]
            if _has_long_line(whole):
                lines = whole[:-1].split(b"\n")
                whole = _joined([piece for line in lines for piece in _pieces(line)])
        if len(self._pending) > limits.LOG_LINE_MAX:
            *full, self._pending = _pieces(self._pending)
            whole += _joined(full)
        return whole

    def flush(self) -> list[bytes]:
        """Return the unfinished line, if there is one, because nothing will finish it."""
        rest, self._pending = self._pending, b""
        return [rest] if rest else []

    def discard(self) -> None:
        """Forget the unfinished line."""
        self._pending = b""


def _has_long_line(block: bytes) -> bool:
    """Say whether a line of a block of whole lines is too long, without a look at each of them."""
    at = 0
    while len(block) - at > limits.LOG_LINE_MAX + 1:
        end = block.rfind(b"\n", at, at + limits.LOG_LINE_MAX + 1)
        if end < 0:
            return True
        at = end + 1
    return False


def _joined(lines: list[bytes]) -> bytes:
    return b"\n".join(lines) + b"\n"


def _pieces(line: bytes) -> list[bytes]:
    """Cut a line into pieces of LOG_LINE_MAX; all but the last are marked."""
    size = limits.LOG_LINE_MAX
    starts = range(0, max(len(line), 1), size)
    pieces = [line[start : start + size] + CUT_MARK for start in starts]
    pieces[-1] = pieces[-1].removesuffix(CUT_MARK)
    return pieces
