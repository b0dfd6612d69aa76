"""`runtime.intake` and `runtime.logwriter`: a disk that hangs holds nobody up, and what that costs is said."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path

import pytest

from supervisord_ng import limits
from tests.runtime.logbench import Bench, run, until

pytestmark = pytest.mark.process

LINE = 100  # bytes


def numbered(count: int) -> str:
    """A program that writes so many numbered lines of LINE bytes."""
    return f"import sys\nfor n in range({count}): sys.stdout.write(f'{{n:0{LINE - 1}d}}\\n')"


def hang(bench: Bench) -> threading.Event:
    """Keep the thread that writes from going on until the event is set, as a write to a dead disk does."""
    again = threading.Event()
    bench.capture.intake.writer.submit(again.wait)
    return again


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second is long for a test."""
    monkeypatch.setattr(limits, "LOG_STALL_NS", 20 * limits.MS)


def test_a_disk_that_hangs_holds_no_worker_up(tmp_path: Path) -> None:
    """A worker that writes more than its FIFO holds ends all the same; nothing is lost, the order is kept."""
    count = 3 * limits.MIB // LINE

    async def scene() -> None:
        bench = Bench(tmp_path)
        again = hang(bench)
        process = bench.start(numbered(count))
        await until(lambda: process.poll() is not None, "the end of the writer", timeout_s=30)
        assert not bench.path.exists()
        again.set()
        assert count * LINE == await bench.written()
        bench.close()
        assert not bench.problems

    run(scene())
    assert list(range(count)) == [int(line) for line in (tmp_path / "w.log").read_bytes().split()]


def test_what_memory_does_not_hold_is_counted(tmp_path: Path) -> None:
    """Beyond a bound output is dropped; the count is there at once, and in the log when the disk is back."""
    count = 10 * limits.MIB // LINE

    async def scene() -> int:
        bench = Bench(tmp_path)
        again = hang(bench)
        process = bench.start(numbered(count))
        await until(lambda: process.poll() is not None, "the end of the writer", timeout_s=30)
        await until(lambda: bench.capture.dropped_bytes > 0, "drops")
        again.set()
        await bench.written()
        await until(lambda: bool(bench.problems), "a warning")
        dropped = bench.capture.dropped_bytes
        bench.close()
        assert ["cannot log output of w: the disk was too slow; what is lost is counted"] == (
            bench.problems
        )
        return dropped

    def of_ours(text: bytes) -> list[int]:
        found = re.findall(rb"\[supervisord-ng: (\d+) bytes of output lost: .*\]\n", text)
        return [int(number) for number in found]

    async def whole() -> None:
        dropped = await scene()
        text = (tmp_path / "w.log").read_bytes()
        assert [dropped] == of_ours(text)
        kept = len(re.sub(rb"\n?\[supervisord-ng: .*\]\n", b"", text))
        assert count * LINE - dropped - kept in (
            0,
            1,
        )  # the line end before the note may be its own

    run(whole())


def test_afterwards_all_is_as_before(tmp_path: Path) -> None:
    """Once the disk is back, blocks stay in their FIFO again until they are written."""

    async def scene() -> None:
        bench = Bench(tmp_path)
        again = hang(bench)
        bench.start("print('meanwhile')").wait()
        await until(lambda: bench.capture.intake.writer.is_stalled, "a stall")
        again.set()
        await bench.written()
        assert not bench.capture.intake.writer.is_stalled
        bench.start("print('afterwards')").wait()
        assert len("afterwards\n") == await bench.written()
        assert b"meanwhile\nafterwards\n" == bench.path.read_bytes()
        bench.close()

    run(scene())


def test_fifty_megabytes_without_a_newline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One endless line costs bounded memory in each format, and arrives whole, in pieces where lines matter."""
    monkeypatch.setattr(limits, "LOG_STALL_NS", 60 * limits.SECOND)  # on no machine is this a stall
    code = "import os\nfor _ in range(50): os.write(1, b'x' * 2**20)"

    async def scene(**spec: object) -> int:
        bench = Bench(tmp_path, **spec)
        process = bench.start(code)
        largest = 0
        while process.poll() is None:
            largest = max(largest, bench.capture.intake.writer.queued_bytes)
            await asyncio.sleep(0)
        await bench.written()
        bench.close()
        assert largest <= limits.LOG_QUEUE_BYTES
        return bench.path.read_bytes().count(b"x")

    for spec in ({}, {"format": "json"}, {"timestamps": True}):
        (tmp_path / "w.log").unlink(missing_ok=True)
        assert 50 * limits.MIB == asyncio.run(asyncio.wait_for(scene(**spec), 60))
