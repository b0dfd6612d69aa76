"""The blocking client tells what happened, in words that help, and never waits for a dead daemon."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from supervisord_ng.control import client
from supervisord_ng.control.access import Caller
from supervisord_ng.control.client import Client, find_runtime_dir
from supervisord_ng.errors import ControlError, NoDaemonError
from supervisord_ng.model.messages import Request
from tests.control.serving import serving
from tests.support import eventually


async def echo(_: Caller, request: Request) -> Any:
    """Answer with the arguments."""
    return request.args


def test_several_requests_use_one_connection() -> None:
    """Each gets its own answer."""
    with serving(echo) as served, Client(served.runtime_dir) as asked:
        assert asked.request("status", {"paths": ["ä"]}) == {"paths": ["ä"]}
        assert asked.request("stop", {"n": 2}) == {"n": 2}


def test_a_refusal_is_raised_in_its_parts() -> None:
    """Code, message and hint arrive as the daemon sent them."""

    async def refuse(_: Caller, __: Request) -> Any:
        raise ControlError("not_found", "cannot stop x: no such child", "did you mean 'y'?")

    with (
        serving(refuse) as served,
        Client(served.runtime_dir) as asked,
        pytest.raises(ControlError) as caught,
    ):
        asked.request("stop", {})
    error = caught.value
    assert (error.code, error.message, error.hint) == (
        "not_found",
        "cannot stop x: no such child",
        "did you mean 'y'?",
    )


def test_a_refused_connection_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Being turned away at the door is no broken pipe."""
    from supervisord_ng import limits

    with serving(echo) as served, Client(served.runtime_dir) as asked:
        monkeypatch.setattr(limits, "CONTROL_CLIENTS_MAX", 0)
        with pytest.raises(ControlError) as caught:
            asked.request("status", {})
    assert caught.value.code == "too_many"


def test_no_socket_means_no_daemon(short_dir: Path) -> None:
    """The message names the socket and how to start a daemon."""
    with pytest.raises(NoDaemonError) as caught:
        Client(str(short_dir)).request("status", {})
    assert str(caught.value) == (
        f"cannot reach a daemon on {short_dir}/control.sock: no such socket"
        " (start one with 'sng run TREE.toml' or 'supervisord-ng -c TREE.toml')"
    )


def test_a_dead_socket_means_no_daemon(short_dir: Path) -> None:
    """A daemon that was killed left its socket behind."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{short_dir}/control.sock")
    with pytest.raises(NoDaemonError, match="nobody listens there any more"):
        Client(str(short_dir)).request("status", {})


def test_a_stream_yields_items() -> None:
    """Until its end; then the connection serves further requests."""

    async def count() -> AsyncIterator[int]:
        yield 1
        yield 2

    def handle(caller: Caller, request: Request) -> Any:
        return count() if request.verb == "events" else echo(caller, request)

    with serving(handle) as served, Client(served.runtime_dir) as asked:
        assert list(asked.stream("events", {})) == [1, 2]
        assert asked.request("status", {}) == {}


def test_a_stream_that_is_refused_raises() -> None:
    """As any request does."""

    async def refuse() -> AsyncIterator[int]:
        for number in range(0):
            yield number
        raise ControlError("failed", "cannot")

    with (
        serving(lambda *_: refuse()) as served,
        Client(served.runtime_dir) as asked,
        pytest.raises(ControlError, match="cannot"),
    ):
        list(asked.stream("events", {}))


def test_a_timeout_is_no_failure() -> None:
    """It says that the request is still in progress, and a later answer to it confuses nobody."""
    release = asyncio.Event()

    async def handle(_: Caller, request: Request) -> Any:
        if request.verb == "stop":
            await release.wait()
        return request.verb

    with serving(handle) as served, Client(served.runtime_dir) as asked:
        with pytest.raises(ControlError, match="still in progress, not failed"):
            asked.request("stop", {}, timeout_s=0.01)
        served.call(release.set)
        assert asked.request("status", {}) == "status"


def test_a_long_wait_goes_on_while_the_daemon_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a time limit the client asks now and then whether anybody is there."""
    monkeypatch.setattr(client, "CONTROL_REPLY_TIMEOUT_S", 0.05)
    pings = 0
    release = asyncio.Event()

    async def handle(_: Caller, request: Request) -> Any:
        nonlocal pings
        if request.verb == "stop":
            await release.wait()
            return "done"
        pings += 1
        if pings == 3:
            release.set()
        return None

    with serving(handle) as served, Client(served.runtime_dir) as asked:
        assert asked.request("stop", {}, timeout_s=None) == "done"
    assert pings == 3


def test_a_long_wait_ends_when_the_daemon_is_stuck(
    monkeypatch: pytest.MonkeyPatch, short_dir: Path
) -> None:
    """A daemon that accepts but never answers, stopped by SIGSTOP for example, is found out."""
    monkeypatch.setattr(client, "CONTROL_REPLY_TIMEOUT_S", 0.05)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(f"{short_dir}/control.sock")
        deaf.listen()
        with (
            Client(str(short_dir)) as asked,
            pytest.raises(ControlError, match="still in progress"),
        ):
            asked.request("stop", {}, timeout_s=None)


@pytest.mark.parametrize("answer", [b"rubbish\n", b"[]\n", b'{"id": null, "ok": false}\n'])
def test_an_answer_in_another_language_is_no_crash(short_dir: Path, answer: bytes) -> None:
    """Whoever listens there, the user gets one line."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{short_dir}/control.sock")
        other.listen()
        with Client(str(short_dir)) as asked:
            asked.watch().close()
            peer, _ = other.accept()
            with peer:
                peer.sendall(answer)
                with pytest.raises(ControlError, match="cannot understand the daemon's answer"):
                    asked.request("status", {})


def test_a_daemon_that_dies_meanwhile_is_noticed() -> None:
    """A request whose connection breaks is not taken for done."""
    release = asyncio.Event()

    def handle(_: Caller, request: Request) -> Any:
        async def never() -> None:
            served.loop.call_soon(drop)
            await release.wait()

        def drop() -> None:
            for connection in served.server._connections:
                connection._writer.transport.abort()

        return never()

    with serving(handle) as served:
        with Client(served.runtime_dir) as asked, pytest.raises(NoDaemonError, match="became of"):
            asked.request("stop", {}, timeout_s=None)
        served.call(release.set)


LISTEN = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
peer, _ = listener.accept()
peer.recv(1)
"""


def test_the_end_of_the_daemon_can_be_waited_for(short_dir: Path) -> None:
    """`DaemonWatch.wait` returns when the process is gone."""
    path = f"{short_dir}/control.sock"
    daemon = subprocess.Popen([sys.executable, "-I", "-c", LISTEN, path])
    try:
        eventually(lambda: _listens(path), "the listener")
        with Client(str(short_dir)) as asked:
            watch = asked.watch()
            asked._connected().send(b"x")
            watch.wait()
            watch.close()
        assert daemon.wait(timeout=10) == 0
    finally:
        daemon.kill()
        daemon.wait()


def _listens(path: str) -> bool:
    # The listener takes one connection only, so look without connecting.
    with open("/proc/net/unix", encoding="utf-8") as table:
        return any(line.split()[-1] == path and line.split()[3] == "00010000" for line in table)


@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        ("/a", {"SNG_RUNTIME_DIR": "/b", "RUNTIME_DIRECTORY": "/c"}, "/a"),
        (None, {"SNG_RUNTIME_DIR": "/b", "RUNTIME_DIRECTORY": "/c"}, "/b"),
        (None, {"RUNTIME_DIRECTORY": "/c:/d", "XDG_RUNTIME_DIR": "/x"}, "/c"),
        (None, {"XDG_RUNTIME_DIR": "/x"}, "/x/supervisord-ng"),
    ],
)
def test_where_the_runtime_directory_is(
    given: str | None, environ: dict[str, str], expected: str
) -> None:
    """The option, SNG_RUNTIME_DIR, RUNTIME_DIRECTORY, XDG_RUNTIME_DIR, in this order."""
    assert expected == find_runtime_dir(given, environ, is_root=False)


def test_without_any_hint_the_user_is_told_what_to_set() -> None:
    """No guess in /tmp."""
    if os.path.exists("/run/supervisord-ng/control.sock"):
        pytest.skip("a daemon of the system runs here")
    with pytest.raises(NoDaemonError, match="--runtime-dir"):
        find_runtime_dir(None, {}, is_root=False)
    assert find_runtime_dir(None, {}, is_root=True) == "/run/supervisord-ng"


def test_the_client_imports_nothing_slow() -> None:
    """No event loop, no ZeroMQ, no msgspec comes with the client."""
    script = (
        "import sys, supervisord_ng.control.client;"
        "print([m for m in ('asyncio', 'zmq', 'msgspec', 'psutil') if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert said.stdout == "[]\n"
