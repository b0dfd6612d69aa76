"""What a client that misbehaves can do to the control server: nothing, and it is counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from supervisord_ng import limits
from supervisord_ng.control.access import Caller
from supervisord_ng.model.messages import Request
from tests.control.serving import Peer, serving
from tests.support import eventually


async def echo(_: Caller, request: Request) -> Any:
    """Answer with the verb."""
    return request.verb


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"{}",
        b"[]",
        b'"stop"',
        b"\xff\xfe",
        b'{"id": 1, "verb": "stop"}',
        b'{"id": "1", "verb": "stop", "args": []}',
        b'{"id": "", "verb": "stop"}',
        b'{"id": "' + b"x" * 129 + b'", "verb": "stop"}',
        b'{"id": "\\ud800", "verb": "stop"}',
        b'{"id": "1", "verb": "\xc3\x28"}',
        b"[" * 100_000,
        b'{"id": "1", "verb": "stop", "args": {"x": ' + b"[" * 100_000,
        b"\x00",
    ],
)
def test_rubbish_is_answered_counted_and_survived(line: bytes) -> None:
    """A line that is no request gets bad_request; the next one on the same connection is served."""
    with serving(echo) as served, Peer(served.path) as peer:
        peer.send_bytes(line + b"\n")
        answer = peer.read()
        peer.send(id="2", verb="status")
        after = peer.read()
        assert served.server.rejected == 1
        assert served.broken == []
    assert (answer["id"], answer["ok"], answer["error"]["code"]) == (None, False, "bad_request")
    assert after == {"id": "2", "ok": True, "result": "status"}


def test_a_line_too_long_ends_the_connection() -> None:
    """After 1 MiB without a newline nobody knows where the next request begins."""
    with serving(echo) as served, Peer(served.path) as peer:
        with contextlib.suppress(BrokenPipeError):  # the server may have had enough before
            peer.send_bytes(b"x" * (limits.CONTROL_LINE_MAX + 70_000))
        answer = peer.read()
        assert peer.read() is None
        assert served.server.rejected == 1
    assert answer["error"]["code"] == "bad_request"


def test_a_long_line_within_the_bound_is_served() -> None:
    """The bound is not reached by a request of many paths."""
    with serving(echo) as served, Peer(served.path) as peer:
        peer.send(id="1", verb="status", args={"paths": ["x" * 64] * 10_000})
        assert peer.read()["ok"]


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client too many is told so and closed; when another has gone there is room again."""
    monkeypatch.setattr(limits, "CONTROL_CLIENTS_MAX", 2)
    with serving(echo) as served:
        with Peer(served.path) as one, Peer(served.path) as two:
            for peer in (one, two):
                peer.send(id="1", verb="status")
                peer.read()
            with Peer(served.path) as three:
                refused = three.read()
                assert three.read() is None
        assert refused["error"]["code"] == "too_many"

        def served_again() -> bool:
            with Peer(served.path) as peer:
                peer.send(id="1", verb="status")
                return bool(peer.read()["ok"])

        eventually(served_again, "room for a new connection")


def test_clients_that_left_during_a_command_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections abandoned half-closed are dropped when others want in, their commands are not."""
    monkeypatch.setattr(limits, "CONTROL_CLIENTS_MAX", 1)
    release = asyncio.Event()

    async def handle(_: Caller, request: Request) -> Any:
        if request.verb == "stop":
            await release.wait()
        return request.verb

    with serving(handle) as served:
        with Peer(served.path) as abandoned:
            abandoned.send(id="1", verb="stop")
            abandoned.socket.shutdown(1)
            eventually(
                lambda: (
                    served.call(
                        lambda: [
                            c.reader.at_eof() and len(c.tasks) for c in served.server._connections
                        ]
                    )
                    == [1]
                ),
                "the server to see the end of the requests",
            )

        def served_again() -> bool:
            with Peer(served.path) as peer:
                peer.send(id="2", verb="status")
                return bool(peer.read()["ok"])

        eventually(served_again, "room for a new connection")
        served.call(release.set)
        with Peer(served.path) as peer:
            peer.send(id="1", verb="stop")
            assert peer.read()["result"] == "stop"


def test_requests_in_flight_are_bounded() -> None:
    """A client that asks without end is refused what exceeds the bound, under the id it gave."""
    release = asyncio.Event()

    async def handle(_: Caller, __: Request) -> Any:
        await release.wait()

    with serving(handle) as served, Peer(served.path) as peer:
        for number in range(limits.CONTROL_IN_FLIGHT_MAX + 1):
            peer.send(id=str(number), verb="stop")
        answer = peer.read()
        served.call(release.set)
        others = [peer.read()["ok"] for _ in range(limits.CONTROL_IN_FLIGHT_MAX)]
    assert answer["id"] == str(limits.CONTROL_IN_FLIGHT_MAX)
    assert answer["error"]["code"] == "too_many"
    assert all(others)


def test_a_reader_that_stands_still_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream nobody reads is held up at the bound, then cut; its source is closed, others are served."""
    from supervisord_ng.control import connection

    monkeypatch.setattr(connection, "CONTROL_STALL_S", 0.05)
    produced = 0
    closed: list[bool] = []

    async def flood(_: Caller, request: Request) -> AsyncIterator[str]:
        nonlocal produced
        try:
            while True:
                produced += 1
                yield "x" * 10_000
        finally:
            closed.append(True)

    def handle(caller: Caller, request: Request) -> Any:
        return flood(caller, request) if request.verb == "events" else echo(caller, request)

    with serving(handle) as served, Peer(served.path) as lazy:
        lazy.send(id="s", verb="events")
        eventually(lambda: closed, "the stream to be cut off")
        assert served.server.rejected == 1
        assert "reads too slowly" in served.logged[0]
        with Peer(served.path) as peer:
            peer.send(id="1", verb="status")
            assert peer.read()["ok"]
    # The rest lies in the kernel's buffers of the two sockets.
    assert produced * 10_000 < 2 * limits.CONTROL_STREAM_BACKLOG_MAX


def test_rubbish_nobody_reads_the_answers_of_is_held_up() -> None:
    """Answers to a flood of rubbish do not pile up: the server stops reading until they are read."""
    with serving(echo) as served, Peer(served.path) as peer:
        peer.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            peer.send_bytes(b"rubbish\n" * 10_000_000)
        size = served.call(
            lambda: sum(
                c._writer.transport.get_write_buffer_size() for c in served.server._connections
            )
        )
    assert size <= limits.CONTROL_STREAM_BACKLOG_MAX + limits.KIB


def test_the_log_is_spared() -> None:
    """Of much rubbish one line is logged in ten seconds; the next one says how much there was."""
    with serving(echo) as served, Peer(served.path) as peer:
        for _ in range(5):
            peer.send_bytes(b"rubbish\n")
            peer.read()
        first = list(served.logged)
        served.now_ns += limits.REJECTED_LOG_INTERVAL_NS
        peer.send_bytes(b"rubbish\n")
        peer.read()
        second = served.logged[1:]
        assert served.server.rejected == 6
    assert len(first) == 1
    assert first[0].startswith("control: rejected uid ")
    assert len(second) == 1
    assert second[0].endswith("(4 more since the last such message)")


def test_an_empty_line_is_no_request() -> None:
    """Whoever types by hand may press return."""
    with serving(echo) as served, Peer(served.path) as peer:
        peer.send_bytes(b"\n  \n" + json.dumps({"id": "1", "verb": "status"}).encode() + b"\n")
        assert peer.read()["ok"]
        assert served.server.rejected == 0
