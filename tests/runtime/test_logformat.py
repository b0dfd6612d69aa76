"""`runtime.logformat`: lines with times and lines as JSON, of whatever bytes."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from supervisord_ng import limits
from supervisord_ng.model.logs import text_of
from supervisord_ng.model.spec import LogSpec
from supervisord_ng.runtime.logformat import Json, Timed, log_format
from tests.runtime.logbench import Bench, launch_of, run

TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "


def test_each_line_is_an_object() -> None:
    """Time, stream and line, whatever pieces the bytes come in; an unfinished line waits for its end."""
    before = time.time()
    form = Json("stderr")
    text = form.feed(b'say "hi"\n\nun') + form.feed(b"finished") + form.flush()
    found = [json.loads(line) for line in text.splitlines()]
    assert ['say "hi"', "", "unfinished"] == [line["line"] for line in found]
    assert {"stderr"} == {line["stream"] for line in found}
    assert all(before <= line["time"] <= time.time() for line in found)
    assert b"" == form.flush()


def test_any_bytes_are_json() -> None:
    """What is no UTF-8 is replaced; control characters are escaped."""
    (line,) = Json("stdout").feed(bytes(range(256)).replace(b"\n", b"") + b"\n").splitlines()
    assert "\x00\x01" == json.loads(line)["line"][:2]
    assert "�" in json.loads(line)["line"]


def test_a_time_before_each_line() -> None:
    """In UTC, to the millisecond; nothing else of the line is touched."""
    form = Timed()
    assert b"" == form.feed(b"\xff one")
    assert re.fullmatch(TIME + b"\xff one\n" + TIME + b"\n", form.feed(b"\n\n"))
    assert re.fullmatch(TIME + b"end\n", form.feed(b"end") + form.flush())


@pytest.mark.parametrize("spec", [LogSpec("f", format="json"), LogSpec("f", timestamps=True)])
def test_a_long_line_is_cut_and_marked(spec: LogSpec) -> None:
    """At LOG_LINE_MAX, so that it neither waits for its end nor grows."""
    form = log_format(spec, "stdout")
    pieces = (form.feed(b"x" * (limits.LOG_LINE_MAX + 1)) + form.feed(b"\n")).splitlines()
    first, rest = [text_of(piece, is_json=spec.format == "json") for piece in pieces]
    assert first.endswith(b"x" * limits.LOG_LINE_MAX + b" [...]")
    assert rest.endswith(b"x")


def test_what_is_no_object_of_ours_stays() -> None:
    """A log may hold lines of an earlier format, and words about lost output."""
    for line in (b"plain", b"[1]", b'{"time":1}', b"\xff", b'{"time":"x","stream":1,"line":2}'):
        assert line == text_of(line, is_json=True)
    assert b"x" == text_of(b'{"time":1.5,"stream":"stdout","line":"x"}', is_json=True)


@pytest.mark.process
def test_the_streams_are_told_apart(tmp_path: Path) -> None:
    """With JSON each stream has its FIFO; both are in the one log, and counted as this incarnation's."""
    code = "import os\nfor n in range(3): os.write(1, b'o%d\\n' % n); os.write(2, b'e%d\\n' % n)"

    async def scene() -> None:
        bench = Bench(tmp_path, format="json")
        bench.start("print('before', end='')").wait()
        bench.capture.finish()
        await bench.written()
        first = bench.path.read_bytes()
        bench.start(code).wait()
        count = await bench.written()
        bench.close()
        text = bench.path.read_bytes()
        assert len(text) - len(first) == count
        found = [json.loads(line) for line in text.splitlines()]
        for stream, lines in (
            ("stdout", ["before", "o0", "o1", "o2"]),
            ("stderr", ["e0", "e1", "e2"]),
        ):
            assert lines == [line["line"] for line in found if line["stream"] == stream]

    run(scene())


@pytest.mark.process
def test_one_stream_of_two(tmp_path: Path) -> None:
    """Only what is logged has a FIFO."""
    code = "import os\nos.write(1, b'out\\n'); os.write(2, b'err\\n')"

    async def scene() -> None:
        bench = Bench(tmp_path, format="json")
        bench.start(code, launch_of(stdout="null", stderr="log")).wait()
        await bench.written()
        assert not bench.capture.outlets.has("w", "out")
        bench.close()
        (line,) = [json.loads(line) for line in bench.path.read_bytes().splitlines()]
        assert ("stderr", "err") == (line["stream"], line["line"])

    run(scene())
