"""The worker protocol (docs/worker-protocol.md): frames to messages and back, for both ends.

    b"SNG1" | token | kind | arguments of the kind ...

Every message names the worker by its token, so each one stands alone: a daemon that has just come
back needs no introduction. This file is part of the SDK too: it knows the standard library and
our limits, and neither sockets nor what anybody does with a message.

Everything a worker says is untrusted: sizes are bounded, text is cut to its limit and cleaned of
control characters, so that it may be printed on an operator's terminal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.errors import ProtocolError

MAGIC = b"SNG1"
IDLE = b"idle"
INFINITY = b"infinity"

_NUMBER_MAX = 2**64 - 1
# C0 without tab and newline, DEL, and C1: what could move a cursor or retitle a terminal.
_CONTROLS = {code: "?" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
_LINE_CONTROLS = {**_CONTROLS, 9: " ", 10: " "}


class Hello(NamedTuple):
    """Worker: here I am. `pid` is what it takes for its own; the kernel's word counts."""

    pid: int


class Ready(NamedTuple):
    """Worker: I can do my work now."""


class Beat(NamedTuple):
    """Worker: I live. `progress` is a counter that moves with the work; None: it waits for work."""

    sequence: int
    progress: int | None


class Status(NamedTuple):
    """Worker: one line for people, at most `limits.STATUS_TEXT_MAX` bytes."""

    text: str


class Crash(NamedTuple):
    """Worker: an exception that nobody caught. `type` is the name of its class."""

    type: str
    message: str
    traceback: str


class Stacks(NamedTuple):
    """Worker: where each of its threads stands; the answer to `Dump`."""

    text: str


class Stopping(NamedTuple):
    """Worker: I am about to end, no more beats."""


class Welcome(NamedTuple):
    """Daemon, to `Hello`: beat every `interval_ms` milliseconds; 0: nobody counts beats."""

    interval_ms: int


class Stop(NamedTuple):
    """Daemon: end within `grace_ms` milliseconds, None: take your time."""

    grace_ms: int | None


class Dump(NamedTuple):
    """Daemon: send `Stacks`."""


WorkerMessage = Hello | Ready | Beat | Status | Crash | Stacks | Stopping
DaemonMessage = Welcome | Stop | Dump


def encode(token: bytes, message: WorkerMessage | DaemonMessage) -> list[bytes]:
    """Turn a message into frames. Text that is too long is cut to what the receiver takes."""
    match message:
        case Beat(sequence, progress):
            body = [b"beat", b"%d" % sequence, IDLE if progress is None else b"%d" % progress]
        case Hello(pid):
            body = [b"hello", b"%d" % pid]
        case Ready():
            body = [b"ready"]
        case Status(text):
            body = [b"status", _line(text, limits.STATUS_TEXT_MAX).encode()]
        case Crash():
            body = [b"crash", json.dumps(_clean(message)._asdict(), ensure_ascii=False).encode()]
        case Stacks(text):
            body = [b"stacks", _head(text, limits.STACKS_MAX).encode()]
        case Stopping():
            body = [b"stopping"]
        case Welcome(interval_ms):
            body = [b"welcome", b"%d" % interval_ms]
        case Stop(grace_ms):
            body = [b"stop", INFINITY if grace_ms is None else b"%d" % grace_ms]
        case Dump():
            body = [b"dump"]
    return [MAGIC, token, *body]


def split(frames: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
    """Check the head of a message and return its token and its body (kind and arguments).

    Apart from decoding, so that a stranger's body is never looked into.

    Raises:
        ProtocolError: this is not a message of this protocol.
    """
    if len(frames) < 3 or frames[0] != MAGIC:
        raise ProtocolError("cannot read message: no SNG1, token and kind")
    return frames[1], frames[2:]


def decode_from_worker(body: Sequence[bytes]) -> WorkerMessage | None:
    """Turn the body of a worker's message into the message; None: of a kind to be ignored.

    Raises:
        ProtocolError: the kind is known and the arguments are not what it needs.
    """
    match body:
        case [b"beat", sequence, progress]:
            return Beat(_number(sequence), None if progress == IDLE else _number(progress))
        case [b"hello", pid]:
            return Hello(_number(pid))
        case [b"ready"]:
            return Ready()
        case [b"status", text]:
            return Status(_line(_text(text), limits.STATUS_TEXT_MAX))
        case [b"crash", document]:
            return _crash(document)
        case [b"stacks", text]:
            return Stacks(_head(_text(text), limits.STACKS_MAX))
        case [b"stopping"]:
            return Stopping()
        case [b"beat" | b"hello" | b"ready" | b"status" | b"crash" | b"stacks" | b"stopping", *_]:
            raise ProtocolError(f"cannot read {body[0].decode()!r}: {len(body) - 1} arguments")
    return None


def decode_from_daemon(body: Sequence[bytes]) -> DaemonMessage | None:
    """Turn the body of the daemon's message into the message; None: of a kind to be ignored.

    Raises:
        ProtocolError: the kind is known and the arguments are not what it needs.
    """
    match body:
        case [b"welcome", interval]:
            return Welcome(_number(interval))
        case [b"stop", grace]:
            return Stop(None if grace == INFINITY else _number(grace))
        case [b"dump"]:
            return Dump()
        case [b"welcome" | b"stop" | b"dump", *_]:
            raise ProtocolError(f"cannot read {body[0].decode()!r}: {len(body) - 1} arguments")
    return None


def _number(frame: bytes) -> int:
    # The length comes first: int() of a long string of digits takes quadratic time.
    if len(frame) <= limits.HEARTBEAT_NUMBER_DIGITS_MAX and frame.isdigit():
        number = int(frame)
        if number <= _NUMBER_MAX:
            return number
    raise ProtocolError("cannot read number: not a decimal of at most 64 bits")


def _text(frame: bytes) -> str:
    try:
        return frame.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"cannot read text: {error.reason} at byte {error.start}") from None


def _crash(document: bytes) -> Crash:
    try:
        fields = json.loads(document)
    except (ValueError, RecursionError) as error:  # RecursionError: a document of brackets only
        raise ProtocolError(f"cannot read 'crash': {error}") from None
    match fields:
        case {"type": str(kind), "message": str(message), "traceback": str(traceback)}:
            return _clean(Crash(kind, message, traceback))
    raise ProtocolError("cannot read 'crash': no object with type, message, traceback as strings")


def _clean(crash: Crash) -> Crash:
    return Crash(
        _line(crash.type, limits.CRASH_TYPE_MAX),
        _head(crash.message, limits.CRASH_MESSAGE_MAX),
        _tail(crash.traceback, limits.TRACEBACK_MAX),
    )


def _line(text: str, limit: int) -> str:
    return _bytes(text.translate(_LINE_CONTROLS))[:limit].decode(errors="ignore")


def _head(text: str, limit: int) -> str:
    return _bytes(text.translate(_CONTROLS))[:limit].decode(errors="ignore")


def _tail(text: str, limit: int) -> str:
    # Of a traceback the end is worth most: the innermost frames and the exception itself.
    return _bytes(text.translate(_CONTROLS))[-limit:].decode(errors="ignore")


def _bytes(text: str) -> bytes:
    # A lone surrogate, from a file name or from JSON, has no UTF-8 and would fail wherever it is
    # stored.
    return text.encode(errors="backslashreplace")
