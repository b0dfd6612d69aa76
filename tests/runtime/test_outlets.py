"""`runtime.outlets` and `runtime.keeper`: what a worker writes waits for whoever reads next, and no longer."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from supervisord_ng import limits
from supervisord_ng.errors import SupervisordNGError
from supervisord_ng.runtime import keeper, pipekeeper
from supervisord_ng.runtime.outlets import ERR, OUT, Outlet, Outlets
from tests import needs
from tests.support import eventually, is_alive

pytestmark = pytest.mark.process

NOBODY = 65534

# A daemon that starts one worker, or none, and is then killed with it or without it.
DAEMON = """
import asyncio, os, signal, subprocess, sys
from supervisord_ng.runtime.outlets import Outlets
async def main():
    outlets = Outlets(asyncio.get_running_loop(), sys.argv[1], print)
    end = outlets.open("w").open_end(None)
    subprocess.run([sys.executable, "-c", sys.argv[2]], stdout=end)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


# A daemon that starts a worker of its own words and is killed without it.
DAEMON_ALONE = """
import asyncio, os, signal, subprocess, sys
from supervisord_ng.runtime.outlets import Outlets
async def main():
    outlets = Outlets(asyncio.get_running_loop(), sys.argv[1], print)
    end = outlets.open("w").open_end(None)
    print(subprocess.Popen(sys.argv[2:], stdout=end, stderr=end).pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@contextmanager
def outlets_in(directory: Path) -> Iterator[Outlets]:
    """The outlets of a daemon that ends in order; must be used inside of a loop."""
    problems: list[str] = []
    outlets = Outlets(asyncio.get_running_loop(), str(directory), problems.append)
    try:
        yield outlets
    finally:
        outlets.close()
    assert not problems


def keeper_of(directory: Path) -> int:
    """The pid of the one keeper; for a moment after its start it can not be told from others."""
    (pid,) = eventually(lambda: keeper.everyone(str(directory / "output")), "a keeper")
    return pid


def pipe_of(outlet: Outlet) -> str:
    """How proc(5) calls it."""
    return os.readlink(f"/proc/self/fd/{outlet.fd}")


def content(outlet: Outlet) -> bytes:
    """What is in a pipe."""
    return os.read(outlet.fd, limits.PIPE_BYTES) if outlet.waiting() else b""


def test_a_write_with_no_reader_neither_fails_nor_waits(short_dir: Path) -> None:
    """A worker whose daemon is dead writes as if nothing were, as far as the pipe reaches."""

    async def scene() -> None:
        with outlets_in(short_dir) as outlets:
            outlet = outlets.open("w")
            end = outlet.open_end(None)
            reader = os.dup(outlet.fd)
            outlet.close()  # as the daemon's death does
            os.write(end, b"x" * outlet.capacity)
            os.close(end)
            outlet.fd = reader
            assert outlet.capacity == outlet.waiting()

    asyncio.run(scene())


def test_the_first_pipes_are_large(short_dir: Path) -> None:
    """1 MiB may wait for the next daemon, unless an ordinary user has too many of them."""

    async def scene() -> None:
        with outlets_in(short_dir) as outlets:
            assert limits.PIPE_BYTES == outlets.open("w").capacity

    asyncio.run(scene())


def test_streams_and_names_do_not_meet(short_dir: Path) -> None:
    """A worker that is called like the stream of another one has pipes of its own."""

    async def scene() -> None:
        with outlets_in(short_dir) as outlets:
            every = [outlets.open(name, stream) for name in ("a", "a.out") for stream in (OUT, ERR)]
            assert 4 == len({os.fstat(outlet.fd).st_ino for outlet in every})
            assert every[0] is outlets.open("a")

    asyncio.run(scene())


def test_output_outlives_worker_and_daemon(short_dir: Path) -> None:
    """Both are killed, and the next daemon reads the last words; then nobody keeps anything any more."""
    command = [sys.executable, "-c", DAEMON, str(short_dir), "print('last words')"]
    subprocess.run(command, check=False)
    kept_by = keeper_of(short_dir)
    assert is_alive(kept_by)

    async def scene() -> None:
        with outlets_in(short_dir) as outlets:
            assert not is_alive(kept_by)
            assert b"last words\n" == content(outlets.open("w"))
            its_keeper = keeper_of(short_dir)
        assert not is_alive(its_keeper)

    asyncio.run(scene())
    assert not list(short_dir.iterdir())


def test_the_keeper_ends_by_itself(short_dir: Path) -> None:
    """When no daemon comes, it does not stay for ever: it sleeps for a bounded time."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-I", "-S", pipekeeper.__file__, "0"]
    with its, subprocess.Popen(command, stdin=its.fileno()) as process:
        assert process.poll() is None
        ours.close()
        assert 0 == process.wait(60)


def test_a_stranger_with_the_number_is_left_alone(short_dir: Path) -> None:
    """The number of a keeper that is gone may belong to anybody."""
    with subprocess.Popen(["sleep", "60"]) as stranger:
        assert not keeper.end(str(short_dir / "output"), [stranger.pid])
        assert stranger.poll() is None
        stranger.kill()


def test_a_killed_keeper_is_replaced(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody kills the keeper: it is said, and another one keeps all that is open."""
    monkeypatch.setattr(limits, "KEEPER_RETRY_NS", limits.MS)

    async def scene() -> None:
        problems: list[str] = []
        outlets = Outlets(asyncio.get_running_loop(), str(short_dir), problems.append)
        outlets.open("w")
        first = keeper_of(short_dir)
        os.kill(first, signal.SIGKILL)
        while not problems or keeper.everyone(str(short_dir / "output")) in ([], [first]):
            await asyncio.sleep(0)
        assert ["the keeper of workers' output was killed; starting another"] == problems
        outlets.close()

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_more_pipes_than_a_message_takes(short_dir: Path) -> None:
    """Hundreds of new pipes, half of them let go: by one keeper, which has the other half."""
    names = [f"w{number}" for number in range(600)]

    async def scene() -> None:
        before = {child.pid for child in psutil.Process().children()}
        with outlets_in(short_dir) as outlets:
            pipes = {name: pipe_of(outlets.open(name)) for name in names}
            for name in names[::2]:
                outlets.forget(name)
            keepers = [c for c in psutil.Process().children() if c.pid not in before]
            assert [keeper_of(short_dir)] == [child.pid for child in keepers]

            def are_kept() -> set[str]:
                kept = keeper.find(str(short_dir / "output"), [keepers[0].pid], pipes.values())
                return {name for name, pipe in pipes.items() if pipe in kept}

            eventually(lambda: are_kept() == set(names[1::2]), "the others are kept")

    asyncio.run(scene())


def test_a_pipe_of_which_only_the_worker_is_left(short_dir: Path) -> None:
    """Daemon and keeper are killed: the next daemon finds the pipe at the worker itself."""
    code = "import os, time; os.write(1, b'here'); time.sleep(600)"
    worker = [sys.executable, "-c", code]
    daemon = subprocess.run(
        [sys.executable, "-c", DAEMON_ALONE, str(short_dir), *worker],
        env={**os.environ, "SNG_TOKEN": "any"},
        capture_output=True,
        text=True,
        check=False,
    )
    pid = int(daemon.stdout)
    assert not keeper.end(str(short_dir / "output"), [keeper_of(short_dir)])

    async def scene() -> None:
        with outlets_in(short_dir) as outlets:
            eventually(lambda: outlets.open("w").waiting() == len(b"here"), "it is read again")

    asyncio.run(scene())
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid), "the worker is gone")


def test_a_pipe_that_nobody_has_any_more(short_dir: Path) -> None:
    """Daemon, worker and keeper are killed: it is said that output may be lost, and a new pipe is made."""
    subprocess.run([sys.executable, "-c", DAEMON, str(short_dir), ""], check=False)
    assert not keeper.end(str(short_dir / "output"), [keeper_of(short_dir)])
    problems: list[str] = []

    async def scene() -> None:
        outlets = Outlets(asyncio.get_running_loop(), str(short_dir), problems.append)
        assert not outlets.has("w", OUT)
        assert limits.PIPE_BYTES == outlets.open("w").capacity
        outlets.close()

    asyncio.run(scene())
    assert ["cannot find the output of w: nobody has its pipe any more"] == problems


def test_the_pipes_of_another_boot(short_dir: Path) -> None:
    """Their numbers mean others now: nobody's pipe is opened by such a name, nor by none of ours."""
    (short_dir / "output").mkdir()
    ends = os.pipe()
    os.symlink(f"another-boot pipe:[{os.fstat(ends[0]).st_ino}]", short_dir / "output" / "w.out")
    os.mkfifo(short_dir / "output" / "v.out")
    (short_dir / "output" / "u.out.new").touch()

    async def scene() -> None:
        with outlets_in(short_dir) as outlets:
            assert not outlets.has("w", OUT)
            assert not outlets.has("v", OUT)

    asyncio.run(scene())
    assert not list(short_dir.iterdir())
    for end in ends:
        os.close(end)


def test_pipes_of_workers_that_are_gone(short_dir: Path) -> None:
    """What nobody will read is removed, and it is said how much that was."""
    subprocess.run([sys.executable, "-c", DAEMON, str(short_dir), "print('lost')"], check=False)

    async def scene() -> None:
        outlets = Outlets(asyncio.get_running_loop(), str(short_dir), pytest.fail)
        outlets.open("other")
        assert {"w": len("lost\n")} == outlets.close()

    asyncio.run(scene())


def test_the_worker_can_open_its_output_again(short_dir: Path) -> None:
    """/dev/stdout works for a user who may not enter the directory, and for nobody else."""
    needs.require_root()
    code = "import os; os.write(os.open('/dev/stdout', os.O_WRONLY | os.O_APPEND), b'again')"

    async def scene() -> None:
        with outlets_in(short_dir) as outlets:
            outlet = outlets.open("w")
            end = outlet.open_end(NOBODY)
            command = ["/usr/bin/env", "python3", "-c", code]
            environment = {"PATH": os.defpath}
            subprocess.run(command, check=True, stdout=end, user=NOBODY, env=environment, cwd="/")
            os.close(end)
            found = os.fstat(outlet.fd)
            assert (b"again", NOBODY, 0o600) == (
                content(outlet),
                found.st_uid,
                found.st_mode & 0o777,
            )
            assert 0o700 == os.stat(short_dir / "output").st_mode & 0o777

    asyncio.run(scene())


def test_the_end_is_for_reading_too(short_dir: Path) -> None:
    """epoll(7) sees no end of file when the last worker has closed: an idle daemon sleeps."""

    async def scene() -> None:
        with outlets_in(short_dir) as outlets:
            outlet = outlets.open("w")
            os.close(outlet.open_end(None))
            poll = select.poll()
            poll.register(outlet.fd, select.POLLIN)
            assert [] == poll.poll(0)

    asyncio.run(scene())


def test_a_directory_that_can_not_be_used(short_dir: Path) -> None:
    """A file in its place is named, with the reason."""
    (short_dir / "output").write_text("")

    async def scene() -> None:
        with pytest.raises(
            SupervisordNGError, match=r"cannot use output directory .*: file exists"
        ):
            Outlets(asyncio.get_running_loop(), str(short_dir), pytest.fail)

    asyncio.run(scene())
