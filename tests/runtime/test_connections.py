"""Who may have a connection to the heartbeat socket, and what becomes of the daemon when many want one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisord_ng import limits
from supervisord_ng.runtime.heartbeats import HeartbeatServer
from supervisord_ng.wire.heartbeat import Ready
from tests.listening import ENDLESS, NOBODY, Dealer, Listening
from tests.needs import require_root
from tests.support import eventually

WAIT_S = 60.0
MONITORED = 1_002  # connections that libzmq can tell of: 1,000 and one are told, one is being told
BACKLOG = 101  # connections that wait in the kernel: ZMQ_BACKLOG, and one

# As many connections as there can be, each of them held until its other end is gone.
CROWD = f"""
import os, select, socket, sys
os.setgid({NOBODY})
os.setuid({NOBODY})
held = set()
for _ in range(int(os.environ["NUMBER"])):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["SNG_HEARTBEAT"].removeprefix("ipc://"))
    held.add(connection)
    for ready in select.select(held, [], [], 0)[0]:
        if not ready.recv(65536):
            held.remove(ready)
print("done", flush=True)
sys.stdin.read()
"""


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def connected(path: str) -> socket.socket:
    """A connection that says nothing."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def is_ended(connection: socket.socket) -> bool:
    """Whether the other end is gone; what it has sent before is thrown away."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


@contextlib.contextmanager
def open_files(soft: int) -> Iterator[None]:
    """Let this process have so many open files."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft > hard:
        pytest.skip(f"this host cannot: no more than {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


@pytest.mark.process
@pytest.mark.root
def test_a_stranger_gets_no_connection(short_dir: Path) -> None:
    """However many it opens: each is ended and counted, none is kept, and the workers are heard."""
    require_root()
    short_dir.chmod(0o711)
    number = 2_000
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        usual = descriptors()
        with daemon.start(CROWD, NUMBER=str(number)) as crowd:
            assert crowd.stdout is not None
            crowd.stdout.readline()
            worker.send(b"SNG1", daemon.token.encode(), b"ready")
            daemon.wait_for(Ready)
            eventually(lambda: daemon.server.rejected == number, "all are counted", WAIT_S)
            eventually(lambda: descriptors() <= usual + 10, "none is kept", WAIT_S)

        assert [Ready()] == daemon.messages
        who = f"uid {NOBODY} (pid {crowd.pid})"
        why = "no worker runs as that user"
        assert {f"cannot accept connection of {who}: {why}"} == set(daemon.rejections)


@pytest.mark.process
@pytest.mark.root
def test_a_worker_that_is_let_in_later_comes_by_itself(short_dir: Path) -> None:
    """As one whose daemon learns of it after its first attempt: ZeroMQ goes on trying."""
    require_root()
    short_dir.chmod(0o711)
    program = f"""
    import os, zmq
    os.setgid({NOBODY})
    os.setuid({NOBODY})
    dealer = zmq.Context().socket(zmq.DEALER)
    dealer.connect(os.environ["SNG_HEARTBEAT"])
    while True:  # what is said into a connection that is being ended may be lost
        dealer.send_multipart([b"SNG1", os.environ["SNG_TOKEN"].encode(), b"ready"])
        dealer.poll(50)
    """
    with Listening(short_dir) as daemon, daemon.start(program):
        eventually(lambda: daemon.server.rejected, "it is refused at first", WAIT_S)
        daemon.call(lambda: daemon.server.register(daemon.token, "root/n", 1, NOBODY, 0))
        daemon.wait_for(Ready)

        assert ("root/n", 1, Ready()) == daemon.batches[0][0]


def test_a_user_has_a_bounded_number_of_connections(short_dir: Path) -> None:
    """Who wants more is sent away, and let in when others have gone."""
    most = limits.HEARTBEAT_CONNECTIONS_MIN
    with contextlib.ExitStack() as held, Listening(short_dir) as daemon:
        for _ in range(most):
            held.enter_context(connected(daemon.path))
        one_more = held.enter_context(connected(daemon.path))
        eventually(lambda: is_ended(one_more), "the last one is ended", WAIT_S)
        eventually(lambda: daemon.rejections, "it is counted", WAIT_S)
        assert f"that user has {most} already" in daemon.rejections[0]

        with Dealer(daemon.server.endpoint) as worker:
            eventually(lambda: len(daemon.rejections) > 1, "a worker is sent away too", WAIT_S)
            held.close()

            def is_heard() -> bool:
                worker.send(b"SNG1", daemon.token.encode(), b"ready")
                return bool(daemon.messages)

            eventually(is_heard, "it is heard", WAIT_S)


def test_the_last_descriptors_are_not_spent_on_connections(short_dir: Path) -> None:
    """libzmq would abort the daemon when there is none left to accept with."""
    spared = limits.HEARTBEAT_DESCRIPTORS_SPARED
    with contextlib.ExitStack() as held, Listening(short_dir) as daemon:
        first = held.enter_context(connected(daemon.path))
        with open_files(first.fileno() + spared + 20):
            more = [held.enter_context(connected(daemon.path)) for _ in range(30)]
            eventually(lambda: is_ended(more[-1]), "the last one is ended", WAIT_S)

        assert "open files nearly all are in use" in daemon.rejections[0]


def test_a_daemon_that_looks_away_is_not_overrun(short_dir: Path) -> None:
    """libzmq's thread accepts no more than it can tell of; and to close while it waits is safe."""
    sockets: list[socket.socket] = []
    path = str(short_dir / "h.sock")

    def crowd() -> None:
        # The time that connect(2) waits for room in the backlog, unix(7).
        patience = struct.pack("ll", 1, 0)
        with contextlib.suppress(BlockingIOError):
            while len(sockets) < 2 * MONITORED:
                connection = socket.socket(socket.AF_UNIX)
                sockets.append(connection)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
                connection.connect(path)

    async def scene() -> None:
        server = HeartbeatServer(asyncio.get_running_loop(), path, lambda _: None)
        thread = threading.Thread(target=crowd)
        thread.start()
        thread.join(WAIT_S)  # the loop does not turn meanwhile
        server.close()

    with open_files(descriptors() + 6 * MONITORED):
        asyncio.run(scene())
        for connection in sockets:
            connection.close()

    assert len(sockets) - 1 <= MONITORED + BACKLOG


@pytest.mark.process
@pytest.mark.root
def test_a_message_without_an_end_is_ended(short_dir: Path) -> None:
    """By a worker of another user, so that its connections are taken: it ends before memory does."""
    require_root()
    short_dir.chmod(0o711)
    this = psutil.Process()
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        daemon.call(lambda: daemon.server.register("its-own", "root/n", 1, NOBODY, 0))
        usual = this.memory_info().rss
        with daemon.start(ENDLESS, NUMBER="1") as flood:
            assert flood.stdout is not None
            assert "ended\n" == flood.stdout.readline()
        eventually(lambda: daemon.rejections, "it is counted", WAIT_S)
        assert "perhaps of a message without an end" in daemon.rejections[0]
        eventually(
            lambda: this.memory_info().rss - usual < limits.HEARTBEAT_GROWTH_MAX,
            "what it took is given back",
            WAIT_S,
        )
        worker.send(b"SNG1", daemon.token.encode(), b"ready")
        daemon.wait_for(Ready)


def test_a_message_of_too_many_frames_ends_its_connection(short_dir: Path) -> None:
    """Others are heard after it, and its sender may come again."""
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        head = (b"SNG1", daemon.token.encode())
        worker.send(*head, b"later", *[b""] * (2 * limits.HEARTBEAT_FRAMES_SKIPPED))
        eventually(lambda: daemon.server.rejected, "it is counted", WAIT_S)
        assert f"more than {limits.HEARTBEAT_FRAMES_SKIPPED} frames" in daemon.rejections[0]

        with Dealer(daemon.server.endpoint) as other:
            other.send(*head, b"ready")
            daemon.wait_for(Ready)
