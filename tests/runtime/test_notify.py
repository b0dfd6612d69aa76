"""systemd's protocol: datagrams with the kernel's word on who sent them, and to whom that one belongs."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisord_ng import limits
from supervisord_ng.errors import ProtocolError
from supervisord_ng.runtime.notify import NotifyServer, parse, worker_of
from tests.support import eventually

Notification = tuple[int, int, dict[str, str]]
Sender = Callable[[bytes], None]


async def turns(number: int = 3) -> None:
    """Let the loop read what has arrived."""
    for _ in range(number):
        await asyncio.sleep(0)


def heard(path: Path, send: Callable[[socket.socket], None]) -> tuple[list[Notification], int, str]:
    """Run a server, let `send` speak to it; return what it heard, how much it rejected, and why."""

    async def scene() -> tuple[list[Notification], int, str]:
        notifications: list[Notification] = []
        rejections: list[str] = []
        server = NotifyServer(
            asyncio.get_running_loop(),
            str(path / "notify.sock"),
            lambda pid, uid, said: notifications.append((pid, uid, said)),
            rejections.append,
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(str(path / "notify.sock"))
            send(client)
        await turns()
        server.close()
        return notifications, server.rejected, "".join(rejections[-1:])

    return asyncio.run(scene())


def test_assignments_come_with_the_senders_credentials(short_dir: Path) -> None:
    """What the kernel says of the sender, and what the sender says."""

    def send(client: socket.socket) -> None:
        client.send(b"READY=1\nSTATUS=up = running\nMAINPID=1\n")
        client.send(b"WATCHDOG=1")

    expected: list[Notification] = [
        (os.getpid(), os.geteuid(), {"READY": "1", "STATUS": "up = running", "MAINPID": "1"}),
        (os.getpid(), os.geteuid(), {"WATCHDOG": "1"}),
    ]
    assert (expected, 0, "") == heard(short_dir, send)


def test_garbage_is_counted_and_dropped(short_dir: Path) -> None:
    """Empty, no assignment, not UTF-8, a NUL inside, too long: counted, and the next one is heard."""

    def send(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * limits.NOTIFY_DATAGRAM_MAX)
        for garbage in (b"", b"READY", b"=1", b"STATUS=\xff", b"READY=1\0"):
            client.send(garbage)
        client.send(b"STATUS=" + b"x" * limits.NOTIFY_DATAGRAM_MAX)
        client.send(b"READY=1")

    notifications, rejected, why = heard(short_dir, send)

    assert [(os.getpid(), os.geteuid(), {"READY": "1"})] == notifications
    assert 6 == rejected
    assert f"longer than {limits.NOTIFY_DATAGRAM_MAX} bytes (from pid {os.getpid()}" in why


def test_the_first_of_two_assignments_counts() -> None:
    """As in systemd; lines that are no assignment are skipped."""
    assert {"STATUS": "a", "READY": "1"} == parse(b"STATUS=a\nrubbish\nSTATUS=b\nREADY=1")


@pytest.mark.parametrize("datagram", [b"", b"\n", b"READY", b"=", b"A=\xff", b"A=1\0"])
def test_parse_refuses_what_says_nothing(datagram: bytes) -> None:
    """No KEY=value, or bytes that are no text."""
    with pytest.raises(ProtocolError, match="cannot read notification"):
        parse(datagram)


def test_a_barrier_is_answered_after_what_came_before(short_dir: Path) -> None:
    """BARRIER=1 sends a descriptor; its other end hangs up once all before it has been handled."""

    async def scene() -> None:
        said: list[dict[str, str]] = []
        loop = asyncio.get_running_loop()
        path = str(short_dir / "notify.sock")
        server = NotifyServer(loop, path, lambda _pid, _uid, words: said.append(words))
        ours, theirs = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(path)
            client.send(b"READY=1")
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs]))
            client.sendmsg([b"BARRIER=1"], [rights])
        os.close(theirs)
        hung_up = asyncio.Event()
        loop.add_reader(ours, hung_up.set)
        await asyncio.wait_for(hung_up.wait(), 10)
        loop.remove_reader(ours)

        assert [{"READY": "1"}, {"BARRIER": "1"}] == said
        assert b"" == os.read(ours, 1)
        os.close(ours)
        server.close()

    asyncio.run(scene())


def test_descriptors_are_closed_whatever_came_with_them(short_dir: Path) -> None:
    """There is no store for FDSTORE=1, and garbage with descriptors leaves none open either."""

    def send(client: socket.socket) -> None:
        with open("/dev/null", "rb") as null:
            for words in (b"FDSTORE=1\nFDNAME=x", b"garbage"):
                rights = (
                    socket.SOL_SOCKET,
                    socket.SCM_RIGHTS,
                    array.array("i", [null.fileno()] * 9),
                )
                client.sendmsg([words], [rights])

    before = len(os.listdir("/proc/self/fd"))
    notifications, rejected, _ = heard(short_dir, send)

    assert (1, 1) == (len(notifications), rejected)
    assert before == len(os.listdir("/proc/self/fd"))


def test_a_flood_is_heard_to_the_last(short_dir: Path) -> None:
    """More notifications than one turn of the loop reads, and than the kernel queues."""

    async def scene() -> tuple[int, int]:
        said: list[int] = []
        path = str(short_dir / "notify.sock")
        server = NotifyServer(
            asyncio.get_running_loop(), path, lambda pid, _uid, _words: said.append(pid)
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(path)
            sent = 0
            for _ in range(limits.NOTIFY_BATCH * 3):
                try:
                    client.send(b"WATCHDOG=1")
                except BlockingIOError:  # the queue is full: net.unix.max_dgram_qlen
                    server.drain()
                    client.send(b"WATCHDOG=1")
                sent += 1
        await turns(10)
        server.close()
        return sent, len(said)

    sent, said = asyncio.run(scene())
    assert (limits.NOTIFY_BATCH * 3, limits.NOTIFY_BATCH * 3) == (sent, said)


def test_the_socket_is_open_to_all_replaces_and_is_removed(short_dir: Path) -> None:
    """Mode 0666; the file of a daemon that died is no hindrance; nothing is left after `close`."""
    path = short_dir / "notify.sock"
    path.write_text("left by somebody")

    async def scene() -> int:
        server = NotifyServer(asyncio.get_running_loop(), str(path), lambda *_: None)
        mode = stat.S_IMODE(os.stat(path).st_mode)
        server.close()
        server.close()
        return mode

    assert 0o666 == asyncio.run(scene())
    assert [] == os.listdir(short_dir)


# A worker with one child in its session and one in a session of its own. It prints their pids and
# waits, as they do, for the end of its standard input.
FAMILY = """
import os, subprocess, sys
wait = "import sys; sys.stdin.read()"
near = subprocess.Popen([sys.executable, "-c", wait])
far = subprocess.Popen([sys.executable, "-c", wait], start_new_session=True)
print(near.pid, far.pid, flush=True)
sys.stdin.read()
near.wait()
far.wait()
"""


@pytest.mark.process
def test_worker_of_finds_the_worker_by_session_and_by_parents() -> None:
    """The worker itself, a child in its session, a child in another session; nobody for strangers."""
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as worker:
        assert worker.stdout is not None
        near, far = (int(pid) for pid in worker.stdout.readline().split())

        def is_worker(pid: int) -> bool:
            return pid == worker.pid

        found = [worker_of(pid, is_worker) for pid in (worker.pid, near, far)]
        strangers = [worker_of(pid, is_worker) for pid in (os.getpid(), 1, 0, -1, 2**22 - 1)]
        assert worker.stdin is not None
        worker.stdin.close()

    assert [worker.pid] * 3 == found
    assert [None] * 5 == strangers
    eventually(lambda: worker_of(near, is_worker) is None, "the dead belong to nobody")
