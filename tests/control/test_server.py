"""The control server keeps its promises to clients that behave."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from typing import Any

import pytest

from supervisord_ng.control.access import Caller
from supervisord_ng.control.server import ControlServer
from supervisord_ng.errors import ControlError
from supervisord_ng.model.messages import Request
from tests.control.serving import Peer, serving
from tests.support import eventually


async def echo(caller: Caller, request: Request) -> Any:
    """Answer with what was asked and by whom."""
    return {"verb": request.verb, "args": request.args, "uid": caller.uid, "pid": caller.pid}


def test_a_request_is_answered_under_its_id() -> None:
    """The answer carries the id, the result, and the handler was told who asks."""
    with serving(echo) as served, Peer(served.path) as peer:
        peer.send(id="a", verb="status", args={"paths": ["root"]})
        answer = peer.read()
    assert answer == {
        "id": "a",
        "ok": True,
        "result": {
            "verb": "status",
            "args": {"paths": ["root"]},
            "uid": os.getuid(),
            "pid": os.getpid(),
        },
    }


def test_a_refusal_carries_code_message_and_hint() -> None:
    """What the handler raises as ControlError reaches the client in its three parts."""

    async def refuse(_: Caller, __: Request) -> Any:
        raise ControlError("not_found", "cannot stop x: no such child", "did you mean 'y'?")

    with serving(refuse) as served, Peer(served.path) as peer:
        peer.send(id="1", verb="stop")
        answer = peer.read()
    assert answer == {
        "id": "1",
        "ok": False,
        "error": {
            "code": "not_found",
            "message": "cannot stop x: no such child",
            "hint": "did you mean 'y'?",
        },
    }


@pytest.mark.parametrize("verb", ["status", "stop"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_broken_handler_is_answered_and_told_to_the_loop(verb: str, *, at_once: bool) -> None:
    """A bug of ours does not leave the client waiting, does not end the server, and is not hidden."""

    def break_down(_: Caller, request: Request) -> Any:
        async def later() -> Any:
            raise ZeroDivisionError("oops")

        if at_once:
            raise ZeroDivisionError("oops")
        return later()

    with serving(break_down) as served, Peer(served.path) as peer:
        peer.send(id="1", verb=verb)
        answer = peer.read()
        broken = list(served.broken)
        served.broken.clear()
    assert answer["error"]["code"] == "failed"
    assert answer["error"]["message"] == f"cannot {verb}: internal error: ZeroDivisionError: oops"
    assert broken == [f"the handler of the control verb {verb!r} failed"]


def test_the_socket_is_for_its_owner_alone() -> None:
    """Without a control group the socket has mode 0600, and it is removed at the end."""
    with serving(echo) as served:
        mode = stat.S_IMODE(os.stat(served.path).st_mode)
        served.close()
        left = os.path.exists(served.path)
    assert mode == 0o600
    assert not left


def test_the_socket_may_be_for_a_group() -> None:
    """With a control group the socket belongs to it and has mode 0660."""
    with serving(echo, control_group=os.getgid()) as served:
        status = os.stat(served.path)
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o660, os.getgid())


def test_a_leftover_socket_is_replaced() -> None:
    """A daemon that was killed leaves its socket; the next one takes the place."""
    with serving(echo) as served:
        served.close()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(served.path)

        async def again() -> None:
            server = ControlServer(served.path, echo)
            await server.start()
            await server.close()

        asyncio.run(again())
        assert not os.path.exists(served.path)


def test_a_path_too_long_is_named() -> None:
    """unix(7) allows 107 bytes; the error says so instead of binding somewhere else."""
    path = "/tmp/" + "x" * 103

    async def start() -> None:
        await ControlServer(path, echo).start()

    with pytest.raises(OSError, match="107") as caught:
        asyncio.run(start())
    assert caught.value.filename == path


def test_requests_of_one_connection_do_not_wait_for_one_another() -> None:
    """A status is answered while a stop of the same connection is in progress."""
    release = asyncio.Event()

    async def handle(_: Caller, request: Request) -> Any:
        if request.verb == "stop":
            await release.wait()
        return request.verb

    with serving(handle) as served, Peer(served.path) as peer:
        peer.send(id="slow", verb="stop")
        peer.send(id="quick", verb="status")
        first = peer.read()
        served.call(release.set)
        second = peer.read()
    assert [first["id"], second["id"]] == ["quick", "slow"]


def test_a_client_may_stop_sending_and_still_read() -> None:
    """``echo REQUEST | socat - UNIX:control.sock`` gets its answer, newline or not."""
    release = asyncio.Event()

    async def handle(_: Caller, __: Request) -> Any:
        await release.wait()
        return "done"

    with serving(handle) as served, Peer(served.path) as peer:
        peer.send_bytes(b'{"id":"1","verb":"stop"}')
        peer.socket.shutdown(socket.SHUT_WR)
        served.call(release.set)
        assert peer.read() == {"id": "1", "ok": True, "result": "done"}
        assert peer.read() is None


def test_a_stream_sends_items_and_an_end() -> None:
    """Every item is a line of its own under the request's id; then comes the end."""

    async def count(_: Caller, request: Request) -> AsyncIterator[int]:
        for number in range(request.args["n"]):
            yield number

    with serving(count) as served, Peer(served.path) as peer:
        peer.send(id="s", verb="events", args={"n": 2})
        lines = [peer.read() for _ in range(3)]
    assert lines == [
        {"id": "s", "item": 0},
        {"id": "s", "item": 1},
        {"id": "s", "ok": True, "end": True},
    ]


def test_a_long_stream_arrives_whole_at_a_reader_that_takes_its_time() -> None:
    """A history larger than every buffer in between is not cut."""
    size, count = 10_000, 2_000  # 20 MB

    async def history(_: Caller, __: Request) -> AsyncIterator[str]:
        for _number in range(count):
            yield "x" * size

    with serving(history) as served, Peer(served.path) as peer:
        peer.send(id="s", verb="events")
        seen = 0
        while "item" in (line := peer.read()):
            seen += 1
    assert (seen, line) == (count, {"id": "s", "ok": True, "end": True})


def test_a_stream_that_fails_says_why() -> None:
    """A refusal after some items ends the stream with an error line."""

    async def fail(_: Caller, __: Request) -> AsyncIterator[int]:
        yield 1
        raise ControlError("failed", "cannot go on: because")

    with serving(fail) as served, Peer(served.path) as peer:
        peer.send(id="s", verb="events")
        lines = [peer.read(), peer.read()]
    assert lines[0] == {"id": "s", "item": 1}
    assert lines[1]["error"]["message"] == "cannot go on: because"


def test_a_disconnect_ends_a_stream_but_not_a_command() -> None:
    """The handler of a stream is closed at once; that of a command runs to its end."""
    ended: list[str] = []
    release = asyncio.Event()

    async def follow() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            ended.append("stream")

    async def stop() -> str:
        await release.wait()
        ended.append("command")
        return "done"

    def handle(_: Caller, request: Request) -> Any:
        return follow() if request.verb == "events" else stop()

    with serving(handle) as served:
        with Peer(served.path) as peer:
            peer.send(id="c", verb="stop")
            peer.send(id="s", verb="events")
            assert peer.read() == {"id": "s", "item": 1}
        eventually(lambda: ended == ["stream"], "the stream to end with its reader")
        served.call(release.set)
        eventually(lambda: ended == ["stream", "command"], "the command to run to its end")
        with Peer(served.path) as peer:
            peer.send(id="c", verb="stop")
            assert peer.read() == {"id": "c", "ok": True, "result": "done"}


def test_closing_ends_streams_and_answers_those_who_wait() -> None:
    """When the daemon ends, nobody is left without a last line."""

    async def follow() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def never() -> Any:
        await asyncio.Event().wait()

    def handle(_: Caller, request: Request) -> Any:
        return follow() if request.verb == "events" else never()

    with serving(handle) as served, Peer(served.path) as peer:
        peer.send(id="c", verb="stop")
        peer.send(id="s", verb="events")
        assert peer.read() == {"id": "s", "item": 1}
        served.close()
        last = {line["id"]: line for line in (peer.read(), peer.read())}
        assert peer.read() is None
    assert last["s"] == {"id": "s", "ok": True, "end": True}
    assert last["c"]["error"]["code"] == "shutting_down"
