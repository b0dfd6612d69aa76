"""One incarnation watched from outside: what is found is told once, and nothing is looked for after the end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from supervisord_ng import limits
from supervisord_ng.core.events import BecameReady, Event, Unresponsive
from supervisord_ng.limits import MS, SECOND
from supervisord_ng.model.exits import LIVENESS
from supervisord_ng.model.remains import Remains
from supervisord_ng.model.spec import LaunchSpec, Liveness, LogSpec, Ready, WorkerSpec
from supervisord_ng.runtime.captures import Captures
from supervisord_ng.runtime.probes import Prober
from supervisord_ng.runtime.readiness import Watch
from tests.runtime.probing import SUBJECT, play
from tests.runtime.test_probes import free_port
from tests.runtime.world import until

READY: Event = BecameReady("root/a", 1)
DEAD: Event = Unresponsive("root/a", 1, LIVENESS)


class Scene:
    """A worker without a process: what its watch finds, and a pipe that stands for its output."""

    def __init__(self, prober: Prober, directory: Path, spec: WorkerSpec) -> None:
        self.found: list[Event] = []
        self.remains = Remains("root/a", 1)
        loop = asyncio.get_running_loop()
        self.watch = Watch(loop, prober, self.found.append, spec, self.remains)
        self.captures = Captures(loop, str(directory), pytest.fail)
        self.capture = self.captures.open("a", LogSpec(file=str(directory / "a.log")))
        self.capture.begin("stdout")
        self.output = self.capture.open_end("stdout", None)
        self.watch.begin(SUBJECT, self.capture)

    def close(self) -> None:
        """The worker ends."""
        os.close(self.output)
        self.watch.end()
        self.watch.end()
        self.captures.close()


@asynccontextmanager
async def watched(
    prober: Prober, directory: Path, ready: Ready, liveness: Liveness | None = None
) -> AsyncIterator[Scene]:
    """A scene with a worker that shows its readiness and liveness like this."""
    spec = WorkerSpec(
        name="a",
        launch=LaunchSpec(("a",)),
        log=LogSpec(file="unused"),
        ready=ready,
        liveness=liveness,
    )
    scene = Scene(prober, directory, spec)
    try:
        yield scene
    finally:
        scene.close()


def liveness(
    probe: Ready, *, failures: int = 3, interval_ms: int = 5, timeout_ms: int = 2_000
) -> Liveness:
    """Looks in quick succession."""
    return Liveness(probe, interval_ms * MS, timeout_ms * MS, failures)


def by_file(path: Path) -> Ready:
    """A check that is good while a file exists, and counts itself in another."""
    code = "import os, sys; open(sys.argv[2], 'a').write('x'); sys.exit(not os.path.exists(sys.argv[1]))"
    return Ready("command", (sys.executable, "-S", "-c", code, str(path), f"{path}.looks"))


def looks(path: Path) -> int:
    """How often that check was made."""
    counted = Path(f"{path}.looks")
    return len(counted.read_text()) if counted.exists() else 0


# --- ready? ----------------------------------------------------------------------------------------
def test_a_port_is_looked_at_until_it_accepts(tmp_path: Path) -> None:
    """What was missing is kept for the report as long as it is missing."""

    async def scene(prober: Prober) -> None:
        port = free_port()
        async with watched(prober, tmp_path, Ready("tcp", f"localhost:{port}")) as worker:
            missing = f"tcp localhost:{port}: connection refused"
            await until(lambda: worker.remains.finding == missing, "a first look")
            with socket.create_server(("127.0.0.1", port)):
                await until(lambda: worker.found, "it is ready")
            assert ([READY], None) == (worker.found, worker.remains.finding)

    play(scene)


@pytest.mark.process
def test_a_check_is_repeated_and_then_no_more(tmp_path: Path) -> None:
    """A ready worker costs nothing."""
    file = tmp_path / "file"

    async def scene(prober: Prober) -> None:
        async with watched(prober, tmp_path, by_file(file)) as worker:
            await until(lambda: looks(file) >= 2, "two looks")
            file.touch()
            await until(lambda: worker.found, "it is ready")
            assert worker.watch._task is None
            assert [READY] == worker.found

    play(scene)


def test_no_look_outlives_the_watch(tmp_path: Path) -> None:
    """A check that is under way when the worker ends is killed."""

    async def scene(prober: Prober) -> None:
        code = "import time; time.sleep(1000)"
        ready = Ready("command", (sys.executable, "-S", "-c", code))
        async with watched(prober, tmp_path, ready) as worker:
            await until(lambda: prober._checks, "a check is under way")
        await until(lambda: not prober._checks, "it is gone")
        assert [] == worker.found

    play(scene)


def written(tmp_path: Path, ready: Ready, *blocks: bytes) -> list[list[Event]]:
    """What was found after each block of output."""

    async def scene(prober: Prober) -> list[list[Event]]:
        found = []
        async with watched(prober, tmp_path, ready) as worker:
            for block in blocks:
                os.write(worker.output, block)
                worker.capture.show_now()
                found.append(list(worker.found))
        return found

    return play(scene)


def test_a_line_of_output_counts_when_it_is_complete(tmp_path: Path) -> None:
    """Anywhere in a line, in whatever pieces it comes, and once."""
    ready = Ready("log", r"listening on port \d+")
    blocks = (b"starting\nnow listening on", b" port 80", b"80\n", b"listening on port 1\n")
    assert [[], [], [READY], [READY]] == written(tmp_path, ready, *blocks)


def test_output_that_is_no_text_is_searched_too(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 stand for nothing."""
    assert [[READY]] == written(tmp_path, Ready("log", "^.ready$"), b"\xffready\n")


def descriptor(tmp_path: Path, *blocks: bytes, close: bool = False) -> tuple[list[Event], bool]:
    """Write to the pipe of `ready = { fd }`; what was found, and whether it is still looked at."""

    async def scene(prober: Prober) -> tuple[list[Event], bool]:
        async with watched(prober, tmp_path, Ready("exec")) as worker:
            watch = worker.watch
            watch._is_ready, watch._ready = False, Ready("fd", 3)
            read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            watch._fd = read
            watch.begin(SUBJECT, worker.capture)
            for block in blocks:
                os.write(write, block)
                await asyncio.sleep(0)
            if close:
                os.close(write)
            for _ in range(3):
                await asyncio.sleep(0)
            if not close:
                os.close(write)
            return worker.found, watch._fd is not None

    return play(scene)


def test_a_newline_on_the_descriptor_counts(tmp_path: Path) -> None:
    """Whatever stands before it, as s6 has it; then nobody looks any more."""
    assert ([], True) == descriptor(tmp_path, b"not yet")
    assert ([READY], False) == descriptor(tmp_path, b"ready", b"\n")


def test_a_descriptor_that_is_closed_says_nothing(tmp_path: Path) -> None:
    """And is not looked at for ever."""
    assert ([], False) == descriptor(tmp_path, close=True)


# --- alive? ------------------------------------------------------------------------------------------
def test_so_many_failures_in_a_row_are_the_end(tmp_path: Path) -> None:
    """Told once, with what failed last."""

    async def scene(prober: Prober) -> None:
        port = free_port()
        alive = liveness(Ready("tcp", f"localhost:{port}"))
        async with watched(prober, tmp_path, Ready("exec"), alive) as worker:
            await until(lambda: worker.found, "it is found dead")
            assert [DEAD] == worker.found
            expected = f"3 probes in a row failed: tcp localhost:{port}: connection refused"
            assert expected == worker.remains.finding
            assert worker.watch._task is None

    play(scene)


@pytest.mark.process
def test_a_good_look_forgives_the_bad_ones(tmp_path: Path) -> None:
    """What counts is failures in a row."""
    file = tmp_path / "file"

    async def scene(prober: Prober) -> None:
        alive = liveness(by_file(file), failures=1_000)
        async with watched(prober, tmp_path, Ready("exec"), alive) as worker:
            await until(lambda: "2 probes in a row" in (worker.remains.finding or ""), "two")
            file.touch()
            await until(lambda: worker.remains.finding is None, "forgiven")
            assert [] == worker.found

    play(scene)


def test_liveness_is_judged_once_the_worker_is_ready(tmp_path: Path) -> None:
    """A program that starts slowly is not dead."""

    async def scene(prober: Prober) -> None:
        alive = liveness(Ready("tcp", f"localhost:{free_port()}"), failures=1)
        async with watched(prober, tmp_path, Ready("notify"), alive) as worker:
            assert "no READY=1 came on $NOTIFY_SOCKET" == worker.remains.finding
            assert worker.watch._task is None
            worker.watch.became_ready()
            worker.watch.became_ready()
            await until(lambda: worker.found, "it is looked at")

    play(scene)


def test_who_is_stopping_is_not_judged(tmp_path: Path) -> None:
    """Nothing begins again after the end, whatever is heard of the worker."""

    async def scene(prober: Prober) -> None:
        alive = liveness(Ready("tcp", f"localhost:{free_port()}"), failures=1)
        async with watched(prober, tmp_path, Ready("notify"), alive) as worker:
            worker.watch.end()
            worker.watch.became_ready()
            assert worker.watch._task is None

    play(scene)


def silent(accepted: Callable[[], None]) -> asyncio.Protocol:
    """A server that takes what it is sent and answers nothing."""

    class Silent(asyncio.Protocol):
        def connection_made(self, _: asyncio.BaseTransport) -> None:
            accepted()

    return Silent()


def test_a_look_that_was_late_because_we_were_is_repeated(tmp_path: Path) -> None:
    """The loop stood still for longer than the look may take: nobody may be blamed for that."""

    async def scene(prober: Prober) -> None:
        connections: list[int] = []

        def accepted() -> None:
            connections.append(1)
            if len(connections) == 1:  # all that follows comes too late
                until_ns = time.monotonic_ns() + 2 * limits.EVENT_LOOP_LAG_NS + 50 * MS
                while time.monotonic_ns() < until_ns:
                    pass

        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: silent(accepted), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        probe = Ready("http", f"http://127.0.0.1:{port}/")
        alive = liveness(probe, failures=1, timeout_ms=50)
        async with watched(prober, tmp_path, Ready("exec"), alive) as worker:
            await until(lambda: worker.found, "it is found dead")
            expected = f"1 probe failed: http http://127.0.0.1:{port}/: no answer within 50ms"
            assert (2, expected) == (len(connections), worker.remains.finding)
        server.close()

    play(scene)


def test_pauses_before_readiness_are_bounded() -> None:
    """From the first look to the last of a start of default length there are dozens, not thousands."""
    pause, spent, count = limits.READY_PROBE_FIRST_NS, 0, 0
    while spent < limits.READY_TIMEOUT_DEFAULT_NS:
        spent, count = spent + pause, count + 1
        pause = min(2 * pause, limits.READY_PROBE_MAX_NS)
    assert 30 * SECOND == limits.READY_TIMEOUT_DEFAULT_NS
    assert count < 100
