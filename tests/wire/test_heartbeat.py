"""The worker protocol in bytes: every message there and back, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisord_ng import limits
from supervisord_ng.errors import ProtocolError
from supervisord_ng.wire.heartbeat import (
    Beat,
    Crash,
    DaemonMessage,
    Dump,
    Hello,
    Ready,
    Stacks,
    Status,
    Stop,
    Stopping,
    Welcome,
    WorkerMessage,
    decode_from_daemon,
    decode_from_worker,
    encode,
    split,
)

TOKEN = b"0123456789abcdef"

# Frozen: workers in other languages and of other versions speak these very bytes.
FROM_WORKER: list[tuple[WorkerMessage, list[bytes]]] = [
    (Hello(4711), [b"hello", b"4711"]),
    (Ready(), [b"ready"]),
    (Beat(7, 42), [b"beat", b"7", b"42"]),
    (Beat(8, None), [b"beat", b"8", b"idle"]),
    (Status("3 of 10 ä"), [b"status", b"3 of 10 \xc3\xa4"]),
    (
        Crash("ValueError", "no", "Traceback\n"),
        [b"crash", b'{"type": "ValueError", "message": "no", "traceback": "Traceback\\n"}'],
    ),
    (Stacks("Thread 1\n"), [b"stacks", b"Thread 1\n"]),
    (Stopping(), [b"stopping"]),
]
FROM_DAEMON: list[tuple[DaemonMessage, list[bytes]]] = [
    (Welcome(1000), [b"welcome", b"1000"]),
    (Stop(5000), [b"stop", b"5000"]),
    (Stop(None), [b"stop", b"infinity"]),
    (Dump(), [b"dump"]),
]


@pytest.mark.parametrize(("message", "body"), FROM_WORKER)
def test_worker_messages_have_frozen_bytes(message: WorkerMessage, body: list[bytes]) -> None:
    """A worker's message is these bytes, and these bytes are that message."""
    assert [b"SNG1", TOKEN, *body] == encode(TOKEN, message)
    decoded = decode_from_worker(body)
    assert (type(message), message) == (type(decoded), decoded)


@pytest.mark.parametrize(("message", "body"), FROM_DAEMON)
def test_daemon_messages_have_frozen_bytes(message: DaemonMessage, body: list[bytes]) -> None:
    """The daemon's message is these bytes, and these bytes are that message."""
    assert [b"SNG1", TOKEN, *body] == encode(TOKEN, message)
    decoded = decode_from_daemon(body)
    assert (type(message), message) == (type(decoded), decoded)


def test_split_gives_token_and_body() -> None:
    """The head is checked and taken off."""
    assert (TOKEN, [b"ready"]) == split([b"SNG1", TOKEN, b"ready"])


@pytest.mark.parametrize(
    "frames", [[], [b""], [b"SNG1"], [b"SNG1", TOKEN], [b"SNG2", TOKEN, b"ready"]]
)
def test_split_refuses_what_is_no_message(frames: list[bytes]) -> None:
    """Too few frames, or another protocol or version."""
    with pytest.raises(ProtocolError, match="cannot read message"):
        split(frames)


@pytest.mark.parametrize(
    "body",
    [
        [b"hello"],
        [b"hello", b"x"],
        [b"hello", b"-1"],
        [b"hello", b""],
        [b"hello", b"\xd9\xa1"],  # an Arabic digit
        [b"hello", b"1", b"2"],
        [b"hello", b"9" * 21],
        [b"hello", b"%d" % 2**64],
        [b"hello", b"9" * 100_000],
        [b"ready", b""],
        [b"beat", b"1"],
        [b"beat", b"1", b"busy"],
        [b"beat", b"idle", b"1"],
        [b"beat", b"1", b"1 "],
        [b"status"],
        [b"status", b"\xff"],
        [b"crash", b"{"],
        [b"crash", b"[]"],
        [b"crash", b"{}"],
        [b"crash", b'{"type": "E", "message": null, "traceback": ""}'],
        [b"crash", b"[" * 200_000],
        [b"crash", b"\xff\xfe"],
        [b"stacks", b"\x80"],
        [b"stopping", b"now"],
    ],
)
def test_malformed_worker_messages_are_refused(body: list[bytes]) -> None:
    """A known kind with anything but its arguments is an error, never a guess."""
    with pytest.raises(ProtocolError, match="cannot read"):
        decode_from_worker(body)


@pytest.mark.parametrize(
    "body", [[b"welcome"], [b"welcome", b"soon"], [b"stop"], [b"stop", b"-5"], [b"dump", b"all"]]
)
def test_malformed_daemon_messages_are_refused(body: list[bytes]) -> None:
    """The same rule in the other direction."""
    with pytest.raises(ProtocolError, match="cannot read"):
        decode_from_daemon(body)


def test_unknown_kinds_are_ignored() -> None:
    """A later version may say more; each end ignores what it does not know, the other's kinds too."""
    assert decode_from_worker([b"sing", b"la"]) is None
    assert decode_from_worker([b"welcome", b"1"]) is None
    assert decode_from_daemon([b"sing"]) is None
    assert decode_from_daemon([b"beat", b"1", b"1"]) is None


def test_long_texts_are_cut_where_they_matter_least() -> None:
    """Of a status and of stacks the beginning is kept, of a traceback the end."""
    status = decode_from_worker([b"status", b"a" * 5000])
    stacks = decode_from_worker([b"stacks", b"main" + b"x" * 200_000])
    long = {"type": "E", "message": "m" * 100_000, "traceback": "x" * 100_000 + "ValueError: no"}
    crash = decode_from_worker([b"crash", json.dumps(long).encode()])

    assert Status("a" * limits.STATUS_TEXT_MAX) == status
    assert isinstance(stacks, Stacks)
    assert (limits.STACKS_MAX, "main") == (len(stacks.text), stacks.text[:4])
    assert isinstance(crash, Crash)
    assert limits.CRASH_MESSAGE_MAX == len(crash.message)
    assert limits.TRACEBACK_MAX == len(crash.traceback)
    assert crash.traceback.endswith("ValueError: no")


def test_text_cannot_reach_the_terminal_of_an_operator() -> None:
    """Control characters, escape sequences and lone surrogates come out harmless."""
    status = decode_from_worker([b"status", b"\x1b]0;x\x07 two\nlines\x7f\xc2\x9b31m"])
    hostile = b'{"type": "E", "message": "\\ud800\\u001b[2J", "traceback": "a\\tb\\n\\u0000"}'
    crash = decode_from_worker([b"crash", hostile])

    assert Status("?]0;x? two lines??31m") == status
    assert Crash("E", "\\ud800?[2J", "a\tb\n?") == crash


@given(st.text(), st.text(), st.text())
def test_every_crash_survives_the_way(kind: str, message: str, traceback: str) -> None:
    """Whatever an exception says, the frame fits, decodes, and the result does not change again."""
    frames = encode(TOKEN, Crash(kind, message, traceback))
    once = decode_from_worker(frames[2:])

    assert isinstance(once, Crash)
    assert frames == encode(TOKEN, once)


def test_the_worst_crash_fits_into_a_frame() -> None:
    """Text that JSON doubles or more is still below the bound at which ZeroMQ cuts the connection."""
    for worst in ("\\", '"', "\0", "\n", "\ud800", "\U0001f4a5"):
        frames = encode(TOKEN, Crash(worst * 1000, worst * 100_000, worst * 200_000))
        assert len(frames[-1]) <= limits.HEARTBEAT_MESSAGE_MAX


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_garbage_is_refused_or_ignored_never_more(frames: list[bytes]) -> None:
    """No bytes make the decoders do anything but return or raise ProtocolError."""
    for decode in (split, decode_from_worker, decode_from_daemon):
        try:
            decode(frames)
        except ProtocolError:
            continue
