"""The daemon's ROUTER: what is believed, what is rejected, what goes out, and what it survives."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from supervisord_ng import limits
from supervisord_ng.runtime.heartbeats import HeartbeatServer
from supervisord_ng.wire.heartbeat import Beat, Hello, Ready, Status
from tests.listening import INTERVAL_MS, Dealer, Listening
from tests.needs import require_root
from tests.support import eventually

NOBODY = 65534


def test_messages_come_with_path_and_incarnation(short_dir: Path) -> None:
    """No message needs another one first; each says of whom it is."""
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        worker.send(b"SNG1", daemon.token.encode(), b"beat", b"1", b"5")
        daemon.wait_for(Beat)

        assert [[("root/w", 1, Beat(1, 5))]] == daemon.batches
        assert 0 == daemon.server.rejected


def test_hello_is_answered_by_the_interval(short_dir: Path) -> None:
    """`welcome` carries the interval, as often as `hello` is said."""
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        welcome = [b"SNG1", daemon.token.encode(), b"welcome", b"%d" % INTERVAL_MS]
        for _ in range(2):
            worker.send(b"SNG1", daemon.token.encode(), b"hello", b"1")
            assert welcome == worker.receive()

        daemon.wait_for(Hello, 2)
        assert [Hello(1), Hello(1)] == daemon.messages


def test_stop_and_dump_reach_the_worker(short_dir: Path) -> None:
    """They go to the connection that the worker spoke on last."""
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        token = daemon.token
        worker.send(b"SNG1", token.encode(), b"ready")
        daemon.wait_for(Ready)

        assert daemon.call(lambda: daemon.server.send_stop(token, 5000))
        assert daemon.call(lambda: daemon.server.send_stop(token, None))
        assert daemon.call(lambda: daemon.server.send_dump(token))
        assert [b"SNG1", token.encode(), b"stop", b"5000"] == worker.receive()
        assert [b"SNG1", token.encode(), b"stop", b"infinity"] == worker.receive()
        assert [b"SNG1", token.encode(), b"dump"] == worker.receive()


def test_sending_to_nobody_says_so(short_dir: Path) -> None:
    """Never connected, gone again, or not registered: False, and nothing waits for them."""
    with Listening(short_dir) as daemon:
        assert not daemon.call(lambda: daemon.server.send_stop(daemon.token, 1))
        assert not daemon.call(lambda: daemon.server.send_dump("unheard-of"))
        with Dealer(daemon.server.endpoint) as worker:
            worker.send(b"SNG1", daemon.token.encode(), b"ready")
            daemon.wait_for(Ready)
        eventually(
            lambda: not daemon.call(lambda: daemon.server.send_dump(daemon.token)),
            "the daemon sees that the worker left",
        )


def test_a_worker_that_never_reads_holds_nobody_up(short_dir: Path) -> None:
    """Its queue is bounded; what does not fit is refused at once."""
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        worker.send(b"SNG1", daemon.token.encode(), b"ready")
        daemon.wait_for(Ready)

        def flood() -> bool:
            return all(daemon.server.send_dump(daemon.token) for _ in range(1_000_000))

        assert not daemon.call(flood)


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"SNG1"],
        [b"SNG1", b"wrong", b"ready"],
        [b"SNG2", b"TOKEN", b"ready"],
        [b"SNG1", b"TOKEN", b"beat", b"x", b"y"],
        [b"SNG1", b"TOKEN", b"crash", b"{"],
        [b"SNG1", b"TOKEN", *[b"x"] * 5000],
        [b"SNG1", b"", b"\xff\xfe"],
    ],
)
def test_garbage_is_counted_and_dropped(short_dir: Path, frames: list[bytes]) -> None:
    """A wrong token or a malformed message changes nothing but the count."""
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        token = daemon.token.encode()
        worker.send(*(token if frame == b"TOKEN" else frame for frame in frames))
        worker.send(b"SNG1", token, b"ready")
        daemon.wait_for(Ready)

        # An unknown kind with a right token is no garbage, however long: later versions may say it.
        expected = 0 if len(frames) > 1000 else 1
        assert (expected, [Ready()]) == (daemon.server.rejected, daemon.messages)


def test_a_flood_of_garbage_is_survived_in_batches(short_dir: Path) -> None:
    """10,000 wrong messages, counted to the last one; a worker that speaks meanwhile is heard."""
    with (
        Listening(short_dir) as daemon,
        Dealer(daemon.server.endpoint) as stranger,
        Dealer(daemon.server.endpoint) as worker,
    ):
        for number in range(10_000):
            stranger.send(b"SNG1", b"wrong", b"beat", b"%d" % number, b"1")
            if number == 5_000:
                worker.send(b"SNG1", daemon.token.encode(), b"ready")
        daemon.wait_for(Ready)
        eventually(lambda: daemon.server.rejected == 10_000, "all of it counted", 30)

        assert [Ready()] == daemon.messages
        assert "unknown token" in daemon.rejections[-1]


def test_a_flood_of_beats_comes_in_batches(short_dir: Path) -> None:
    """One call for each drained batch, of a bounded length, in order, none lost."""
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        for number in range(3_000):
            worker.send(b"SNG1", daemon.token.encode(), b"beat", b"%d" % number, b"1")
        daemon.wait_for(Beat, 3_000)

        assert list(range(3_000)) == [beat.sequence for beat in daemon.of(Beat)]
        assert max(len(batch) for batch in daemon.batches) <= limits.HEARTBEAT_BATCH


def test_drain_takes_in_what_has_arrived(short_dir: Path) -> None:
    """What lies in the socket is heard before `drain` returns, more than one batch of it."""

    async def scene() -> list[int]:
        heard: list[int] = []
        loop = asyncio.get_running_loop()
        server = HeartbeatServer(
            loop, str(short_dir / "h.sock"), lambda batch: heard.append(len(batch))
        )
        token = b"token-1"
        server.register(token.decode(), "root/w", 1, None, 0)
        with Dealer(server.endpoint) as worker:
            for _ in range(600):
                worker.send(b"SNG1", token, b"ready")

            def all_drained() -> bool:
                server.drain()
                return sum(heard) == 600

            # This blocks the loop's thread, so nothing but `drain` can read.
            eventually(all_drained, "all of it drained")
            server.close()
        return heard

    assert 600 == sum(asyncio.run(scene()))


def test_an_oversized_frame_ends_its_connection_only(short_dir: Path) -> None:
    """ZeroMQ drops who sends more than the bound; the others go on, and it may come again."""
    with (
        Listening(short_dir) as daemon,
        Dealer(daemon.server.endpoint) as greedy,
        Dealer(daemon.server.endpoint) as worker,
    ):
        token = daemon.token.encode()
        worker.send(b"SNG1", token, b"status", b"fine")
        daemon.wait_for(Status)
        greedy.send(b"SNG1", token, b"status", b"x" * (limits.HEARTBEAT_MESSAGE_MAX + 1))
        worker.send(b"SNG1", token, b"status", b"still")
        daemon.wait_for(Status, 2)

        assert [Status("fine"), Status("still")] == daemon.messages
        eventually(lambda: daemon.server.rejected == 1, "it is counted", 20)
        assert "too large a frame" in daemon.rejections[0]


def test_who_leaves_after_a_word_is_not_counted(short_dir: Path) -> None:
    """However many come and go, also where they get the descriptors of those before them."""
    with Listening(short_dir) as daemon:
        for number in range(1, 21):
            with Dealer(daemon.server.endpoint) as worker:
                worker.send(b"SNG1", daemon.token.encode(), b"ready")
                daemon.wait_for(Ready, number)
        with socket.socket(socket.AF_UNIX) as noise:
            noise.connect(daemon.path)
            noise.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        eventually(lambda: daemon.server.rejected, "the stranger is counted", 20)

        assert 1 == len(daemon.rejections)


def test_an_older_incarnation_is_not_heard_any_more(short_dir: Path) -> None:
    """Once unregistered its token is as good as none; the new one has another."""
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        old = daemon.token
        daemon.call(lambda: daemon.server.unregister(old))
        new = "another-token"
        daemon.call(lambda: daemon.server.register(new, "root/w", 2, None, 0))
        worker.send(b"SNG1", old.encode(), b"ready")
        worker.send(b"SNG1", new.encode(), b"ready")
        daemon.wait_for(Ready)

        assert [("root/w", 2, Ready())] == daemon.batches[-1]
        assert 1 == daemon.server.rejected


def test_an_adopted_incarnation_keeps_its_token(short_dir: Path) -> None:
    """A daemon that comes back hears the workers of the one before it."""
    with Listening(short_dir) as daemon, Dealer(daemon.server.endpoint) as worker:
        daemon.call(lambda: daemon.server.register("old-token", "root/x", 7, None, 0))
        worker.send(b"SNG1", b"old-token", b"ready")
        daemon.wait_for(Ready)

        assert [[("root/x", 7, Ready())]] == daemon.batches


def test_a_process_of_nobody_is_rejected(short_dir: Path) -> None:
    """With the right token and the right user, but from outside of the worker."""
    asked: list[tuple[str, int]] = []

    def belongs(path: str, pid: int) -> bool:
        asked.append((path, pid))
        return False

    with Listening(short_dir, belongs) as daemon, Dealer(daemon.server.endpoint) as stranger:
        stranger.send(b"SNG1", daemon.token.encode(), b"ready")
        eventually(lambda: daemon.server.rejected, "the stranger is seen")

        assert ([("root/w", os.getpid())], []) == (asked, daemon.messages)


# It becomes another user itself, since that one may not be able to reach this Python.
SEND_READY = f"""
import os, sys, zmq
os.setgid({NOBODY})
os.setuid({NOBODY})
context = zmq.Context()
dealer = context.socket(zmq.DEALER)
dealer.connect(sys.argv[1])
dealer.send_multipart([b"SNG1", sys.argv[2].encode(), b"ready"])
context.destroy(linger=5000)
"""


def say_ready_as_nobody(daemon: Listening) -> None:
    """Send `ready` with the daemon's token as the user nobody."""
    command = [sys.executable, "-c", SEND_READY, daemon.server.endpoint, daemon.token]
    subprocess.run(command, check=True)


@pytest.mark.process
@pytest.mark.root
def test_another_user_is_rejected_whatever_it_knows(short_dir: Path) -> None:
    """The kernel says who connected: anyone may, but only the worker's own user is believed."""
    require_root()
    short_dir.chmod(0o711)
    with Listening(short_dir) as daemon:
        say_ready_as_nobody(daemon)
        eventually(lambda: daemon.server.rejected, "the other user is seen")
        assert f"uid {NOBODY}" in daemon.rejections[-1]

        daemon.call(lambda: daemon.server.register(daemon.token, "root/n", 1, NOBODY, 0))
        say_ready_as_nobody(daemon)
        daemon.wait_for(Ready)
        assert [[("root/n", 1, Ready())]] == daemon.batches


def test_the_socket_is_open_to_all_and_removed_at_the_end(short_dir: Path) -> None:
    """Mode 0666 while it lives; after `close` nothing lies there, and a second `close` is nothing."""
    with Listening(short_dir) as daemon:
        assert 0o666 == stat.S_IMODE(os.stat(daemon.path).st_mode)
        daemon.call(daemon.server.close)
        assert [] == os.listdir(short_dir)


def test_an_unusable_path_is_an_os_error(short_dir: Path) -> None:
    """The daemon can say what is wrong, with the path."""

    async def scene() -> None:
        HeartbeatServer(
            asyncio.get_running_loop(), str(short_dir / "missing" / "h.sock"), lambda _: None
        )

    with pytest.raises(OSError, match="cannot bind heartbeat socket"):
        asyncio.run(scene())


def test_a_stranger_to_zeromq_changes_nothing(short_dir: Path) -> None:
    """Bytes that are not even ZeroMQ's, and a connection that says nothing at all."""
    with (
        Listening(short_dir) as daemon,
        socket.socket(socket.AF_UNIX) as noise,
        socket.socket(socket.AF_UNIX) as silence,
        Dealer(daemon.server.endpoint) as worker,
    ):
        noise.connect(daemon.path)
        silence.connect(daemon.path)
        noise.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        worker.send(b"SNG1", daemon.token.encode(), b"ready")

        assert Ready() == daemon.wait_for(Ready)
