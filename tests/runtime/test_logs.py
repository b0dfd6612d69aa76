"""`runtime.logs`: what real processes write is in the log, in order, whole, and nobody waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisord_ng import limits
from supervisord_ng.errors import SpawnError
from supervisord_ng.runtime.logs import Output, open_output
from tests.runtime.logbench import Bench, close_all, launch_of, run, until

pytestmark = pytest.mark.process

TEN_THOUSAND = "import sys\nfor n in range(10_000): sys.stdout.write(f'line {n}\\n')"


def test_the_last_words_are_there(tmp_path: Path) -> None:
    """A process that wrote 10,000 lines and ended: whoever asks for its log then gets all of them."""

    async def scene() -> None:
        bench = Bench(tmp_path)
        process = bench.start(TEN_THOUSAND)
        await until(lambda: process.poll() is not None, "the end of the writer")
        count = await bench.written()
        text = bench.path.read_text()
        assert text == "".join(f"line {number}\n" for number in range(10_000))
        assert len(text) == count
        bench.close()
        assert not bench.problems

    run(scene())


def test_a_block_is_in_the_pipe_until_it_is_in_the_log(tmp_path: Path) -> None:
    """At every moment all that was written is in the one or the other, for a daemon that is killed then."""
    text = b"".join(b"%d\n" % number for number in range(20_000))

    async def scene() -> None:
        bench = Bench(tmp_path)
        bench.capture.begin("stdout")
        end = bench.capture.open_end("stdout", None)
        outlet = bench.capture.outlets.open("w")
        os.write(end, text)
        os.close(end)

        def is_in_log() -> bool:
            left = outlet.waiting()  # before the look at the file, which may only grow meanwhile
            size = bench.path.stat().st_size if bench.path.exists() else 0
            assert size + left >= len(text)
            return left == 0

        await until(is_in_log, "all in the log")
        assert text == bench.path.read_bytes()
        bench.close()

    run(scene())


def test_ten_megabytes_through_three_files(tmp_path: Path) -> None:
    """10 MB through 1 MB and 3 backups: the end is left, whole, in order, once; no file is too large."""
    count = 10 * limits.MIB // 20

    async def scene() -> None:
        bench = Bench(tmp_path, max_bytes=limits.MIB, backups=3)
        process = bench.start(
            f"import sys\nfor n in range({count}): sys.stdout.write(f'{{n:019d}}\\n')"
        )
        await until(lambda: process.poll() is not None, "the end of the writer", timeout_s=30)
        await bench.written()
        bench.close()
        assert count == len(bench.lines)

    run(scene())
    files = [tmp_path / "w.log.3", tmp_path / "w.log.2", tmp_path / "w.log.1", tmp_path / "w.log"]
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert all(path.stat().st_size <= limits.MIB for path in files)
    numbers = [int(line) for path in files for line in path.read_bytes().splitlines()]
    assert list(range(numbers[0], count)) == numbers
    assert all(path.stat().st_size > limits.MIB - 20 for path in files[:-1])


def test_both_streams_keep_their_order(tmp_path: Path) -> None:
    """stdout and stderr that go to one log share a pipe, so the file has them as they were written."""
    code = "import os\nfor n in range(500): os.write(1, b'o%d\\n' % n); os.write(2, b'e%d\\n' % n)"

    async def scene() -> None:
        bench = Bench(tmp_path)
        bench.start(code).wait()
        await bench.written()
        bench.close()
        expected = [word for n in range(500) for word in (b"o%d" % n, b"e%d" % n)]
        assert expected == bench.path.read_bytes().splitlines()
        assert expected == bench.lines

    run(scene())


def test_a_descendant_with_the_pipe_holds_nothing_up(tmp_path: Path) -> None:
    """A grandchild that keeps the pipe open delays neither `drain_now` nor the next incarnation."""
    code = (
        "import os, sys, time\n"
        "print('worker', flush=True)\n"
        "if os.fork() == 0:\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
    )

    async def scene() -> None:
        bench = Bench(tmp_path)
        output = open_output(launch_of(), bench.capture)
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=output.stdout,
            stderr=output.stderr,
        )
        close_all(output)
        process.wait()
        assert len(b"worker\n") == await bench.written()
        bench.start("print('next')").wait()
        assert len(b"next\n") == await bench.written()
        assert b"worker\nnext\n" == bench.path.read_bytes()
        assert process.stdin is not None
        process.stdin.close()  # ends the grandchild
        bench.close()

    run(scene())


def test_who_asks_gets_what_was_there_and_no_more(tmp_path: Path) -> None:
    """Somebody who refills the pipe while it is emptied can not keep an answer from coming."""

    async def scene() -> None:
        bench = Bench(tmp_path)
        bench.capture.begin("stdout")
        end = bench.capture.open_end("stdout", None)
        os.write(end, b"first\n")

        def refill(_: list[bytes]) -> None:
            os.write(end, b"again\n")

        bench.capture.listen(refill)
        assert len(b"first\n") == await bench.written()
        bench.capture.listen(None)
        os.close(end)
        bench.close()

    run(scene())


def test_an_unfinished_line_reaches_the_tap_at_the_end(tmp_path: Path) -> None:
    """The last line counts though it has no newline; the file has it untouched."""

    async def scene() -> None:
        bench = Bench(tmp_path)
        bench.start("print('whole'); print('no end', end='')").wait()
        bench.capture.finish()
        await bench.written()
        assert [b"whole", b"no end"] == bench.lines
        assert b"whole\nno end" == bench.path.read_bytes()
        bench.close()

    run(scene())


def test_a_flood_takes_turns(tmp_path: Path) -> None:
    """A worker that never stops writing leaves the loop its turns."""

    async def scene() -> None:
        bench = Bench(tmp_path, max_bytes=limits.MIB, backups=1)
        process = bench.start(
            "import os\nblock = b'x' * 99 + b'\\n'\nwhile True: os.write(1, block * 600)"
        )
        try:
            await until(lambda: len(bench.lines) > 40_000, "some output")
        finally:
            process.kill()
            process.wait()
            bench.close()

    run(scene())


def test_streams_go_where_the_configuration_says(tmp_path: Path) -> None:
    """`null`, a path for both streams, and one stream logged alone."""

    async def scene() -> None:
        bench = Bench(tmp_path)
        both = tmp_path / "both.txt"
        code = "import os\nos.write(1, b'out\\n'); os.write(2, b'err\\n')"
        for _ in range(2):
            bench.start(code, launch_of(stdout=str(both), stderr=str(both))).wait()
        assert 0 == await bench.written()
        bench.start(code, launch_of(stdout="null", stderr="log")).wait()
        bench.start(code, launch_of(stdout="log", stderr="null")).wait()
        bench.close()
        assert b"out\nerr\nout\nerr\n" == both.read_bytes()
        assert b"err\nout\n" == bench.path.read_bytes()

    run(scene())


def test_inherit_is_the_daemons_own(tmp_path: Path) -> None:
    """`inherit` hands on the daemon's descriptors and closes none of them."""

    async def scene() -> None:
        bench = Bench(tmp_path)
        assert Output(1, 2, ()) == open_output(launch_of("inherit", "inherit"), bench.capture)
        bench.close()

    run(scene())


@pytest.mark.parametrize(
    ("name", "why", "words"),
    [
        ("missing/out.txt", "ENOENT", "cannot open stderr: no such file or directory: "),
        ("fifo", "ENXIO", "cannot open stderr: no such device or address: "),
        ("folder", "EISDIR", "cannot open stderr: is a directory: "),
    ],
)
def test_a_path_that_can_not_be_opened(tmp_path: Path, name: str, why: str, words: str) -> None:
    """The failure names stream and path; what was opened before is closed again."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    path = str(tmp_path / name)

    async def scene() -> None:
        bench = Bench(tmp_path)
        bench.capture.begin("stdout")  # the pipe stays open from the first time on
        before = set(os.listdir("/proc/self/fd"))
        with pytest.raises(SpawnError) as caught:
            open_output(launch_of(stderr=path), bench.capture)
        assert (why, words + path) == (caught.value.why, caught.value.message)
        assert before == set(os.listdir("/proc/self/fd"))
        bench.close()

    run(scene())
