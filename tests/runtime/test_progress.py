"""`runtime.progress`: a daemon is killed while it writes output; the next one loses and repeats nothing."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from supervisord_ng import limits
from supervisord_ng.model.logs import backup_path
from supervisord_ng.model.spec import LogSpec
from supervisord_ng.runtime import keeper
from supervisord_ng.runtime.captures import Captures
from supervisord_ng.runtime.logfile import LogFile, Place, bytes_since, cut, place_of_end
from supervisord_ng.runtime.progress import Notes, Progress, check_of
from tests.support import eventually, rounds

pytestmark = pytest.mark.process

# Carries output on until it is killed.
DAEMON = """
import asyncio, sys
import msgspec
from supervisord_ng.model.spec import LogSpec
from supervisord_ng.runtime.captures import Captures
async def main():
    captures = Captures(asyncio.get_running_loop(), sys.argv[1], print)
    captures.open("w", msgspec.json.decode(sys.argv[2], type=LogSpec)).adopt("stdout")
    print("reads", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def capture_for_a_moment(directory: Path, spec: LogSpec, moment_s: float) -> None:
    """Let a daemon carry output on, and kill it."""
    text = json.dumps(
        {"file": spec.file, "max_bytes": spec.max_bytes, "backups": 1000, "format": spec.format}
    )
    command = [sys.executable, "-c", DAEMON, str(directory), text]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert b"reads\n" == daemon.stdout.readline()
        time.sleep(moment_s)  # no wait for something, but the chance of when the daemon is hit
        daemon.kill()


def end_left_in(directory: Path) -> int:
    """Open what the worker of a dead daemon would have open."""
    output = directory / "output"
    pipe = os.readlink(output / "w.out").split()[1]
    keepers = eventually(lambda: keeper.everyone(str(output)), "its keeper")
    found = keeper.find(str(output), keepers, [pipe])
    return os.open(found[pipe], os.O_RDWR)


class Writer(threading.Thread):
    """Writes numbered lines as fast as they are taken, in pieces of a few lines, until it is told to end."""

    def __init__(self, end: int) -> None:
        super().__init__()
        self._fd = end
        self._end = threading.Event()
        self.count = 0

    def run(self) -> None:
        """Write."""
        while not self._end.is_set():
            some = range(self.count, self.count + 7)
            os.write(self._fd, b"".join(b"line %d\n" % number for number in some))
            self.count += 7

    def end(self) -> None:
        """Stop."""
        self._end.set()
        self.join()
        os.close(self._fd)


@pytest.mark.parametrize("form", ["raw", "json"])
def test_killed_at_any_moment(short_dir: Path, form: str) -> None:
    """Each line is in the log once and in order, however often a daemon dies over it, through rotations too."""
    chance = random.Random()
    spec = LogSpec(str(short_dir / "w.log"), limits.MIB, 1000, form)  # type: ignore[arg-type]

    async def finish() -> int:
        captures = Captures(asyncio.get_running_loop(), str(short_dir), print)
        captures.open("w", spec).adopt("stdout")
        await asyncio.to_thread(writer.end)
        await captures.flush()
        captures.close()
        return writer.count

    capture_for_a_moment(short_dir, spec, 0)
    writer = Writer(end_left_in(short_dir))
    writer.start()
    try:
        for _ in range(rounds(2)):
            capture_for_a_moment(short_dir, spec, chance.uniform(0, 0.03))
    finally:
        count = asyncio.run(finish())
    files = [backup_path(spec.file, number) for number in range(1000, -1, -1)]
    text = b"".join(Path(file).read_bytes() for file in files if os.path.exists(file))
    found = text.splitlines()
    if form == "json":
        found = [json.loads(line)["line"].encode() for line in found]
    assert [b"line %d" % number for number in range(count)] == found


def test_notes_outlive_who_made_them(tmp_path: Path) -> None:
    """Of each FIFO its own; a slot that is free is taken again, and empty then."""
    path = str(tmp_path / "progress")
    progress = Progress(path)
    place = Place((1, 2), 3)
    progress.open(11).writing(b"block", place, 6)
    progress.open(12).begin(place)
    again = Progress(path)
    block = again.open(11).unfinished()
    assert block is not None
    assert (5, check_of(b"block"), place, 6) == (
        block.length,
        block.check,
        block.place,
        block.written,
    )
    assert place == again.open(12).beginning()
    assert (None, None) == (again.open(12).unfinished(), again.open(11).beginning())
    again.open(11).done()
    assert again.open(11).unfinished() is None
    size = os.path.getsize(path)
    old = again.open(12)
    again.forget(12)
    assert again.open(13).beginning() is None
    old.begin(place)
    assert again.open(13).beginning() is None
    assert size == os.path.getsize(path)
    again.remove()


def test_how_much_stands_behind_a_place(tmp_path: Path) -> None:
    """Through rotations; all of it when the file is gone; what was written there can be taken back."""
    spec = LogSpec(str(tmp_path / "w.log"), 20, 5)
    log = LogFile(spec)
    log.append(b"one\n")
    place = place_of_end(spec)
    assert (0, 4) == (bytes_since(spec, place), bytes_since(spec, None))
    log.append(b"two\n")
    assert place is not None
    cut(spec, place)
    assert b"one\n" == Path(spec.file).read_bytes()
    for number in range(10):
        log.append(b"line %d\n" % number)
    assert 70 == bytes_since(spec, place)
    assert 74 == bytes_since(spec, Place((0, 0), 1))
    log.close()
    cut(spec, place)
    assert 0 == bytes_since(spec, place)
    assert 4 == bytes_since(spec, None)


def test_a_report_about_an_adopted_worker(short_dir: Path) -> None:
    """The log of an incarnation that an earlier daemon began is known from its beginning."""
    spec = LogSpec(str(short_dir / "w.log"))

    async def begin() -> None:
        captures = Captures(asyncio.get_running_loop(), str(short_dir), pytest.fail)
        capture = captures.open("w", spec)
        for text in (b"of another one\n", b"before\n"):
            capture.begin("stdout")
            end = capture.open_end("stdout", None)
            os.write(end, text)
            assert await captures.flush()
            os.close(end)
        os.kill(os.getpid(), signal.SIGKILL)

    async def go_on() -> int:
        captures = Captures(asyncio.get_running_loop(), str(short_dir), pytest.fail)
        capture = captures.open("w", spec)
        capture.adopt("stdout")
        os.write(capture.outlets.open("w").fd, b"after\n")
        future = asyncio.get_running_loop().create_future()
        capture.when_written(lambda count: count, future.set_result)
        count = int(await future)
        captures.close()
        return count

    daemon = os.fork()
    if daemon == 0:
        asyncio.run(begin())
    os.waitpid(daemon, 0)
    assert len("before\nafter\n") == asyncio.run(go_on())


def test_a_line_over_which_a_daemon_is_replaced(short_dir: Path) -> None:
    """A daemon that makes way for another one leaves an unfinished line where it is."""
    spec = LogSpec(str(short_dir / "w.log"), format="json")

    async def begin() -> None:
        captures = Captures(asyncio.get_running_loop(), str(short_dir), pytest.fail)
        captures.open("w", spec).adopt("stdout")
        os.write(captures.open("w", spec).outlets.open("w").fd, b"one\ntwo, ")
        captures.detach()
        os._exit(0)

    async def go_on() -> None:
        captures = Captures(asyncio.get_running_loop(), str(short_dir), pytest.fail)
        capture = captures.open("w", spec)
        capture.adopt("stdout")
        os.write(capture.outlets.open("w").fd, b"all of it\n")
        assert await captures.flush()
        captures.close()

    daemon = os.fork()
    if daemon == 0:
        asyncio.run(begin())
    assert os.waitpid(daemon, 0)[1] == 0
    asyncio.run(go_on())
    lines = Path(spec.file).read_text().splitlines()
    assert ["one", "two, all of it"] == [json.loads(line)["line"] for line in lines]


def test_notes_need_no_block(tmp_path: Path) -> None:
    """A daemon that died at rest has left nothing to do."""
    assert Progress(str(tmp_path / "p")).open(1).unfinished() is None
    assert isinstance(Progress(str(tmp_path / "p")).open(1), Notes)
