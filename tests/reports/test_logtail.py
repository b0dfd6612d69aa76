"""`reports.logtail` and `reports.logfollow`: the right lines, whatever the writer does meanwhile."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_ng import limits
from supervisord_ng.model.logs import CUT_MARK
from supervisord_ng.model.spec import LogSpec
from supervisord_ng.reports.logfollow import Follower
from supervisord_ng.reports.logtail import LogReader, tail
from supervisord_ng.runtime.logfile import LogFile


def log_in(folder: Path, *, max_bytes: int = 0, backups: int = limits.LOG_BACKUPS_MAX) -> LogFile:
    """The writer's side, which the caller closes."""
    return LogFile(LogSpec(file=str(folder / "w.log"), max_bytes=max_bytes, backups=backups))


def last_lines(path: Path, count: int) -> list[bytes]:
    """The last lines as `sng logs -n` reads them."""
    with LogReader(str(path)) as reader:
        reader.seek_last(count)
        return [*reader.lines(), *reader.unfinished()]


@given(
    lines=st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\n", b"")), max_size=40),
    count=st.integers(0, 50),
    max_bytes=st.integers(0, 50),
    end=st.sampled_from([b"", b"\n"]),
)
@settings(max_examples=150, deadline=None)
def test_last_lines_are_those_of_one_long_file(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    count: int,
    max_bytes: int,
    end: bytes,
) -> None:
    """Rotation changes nothing about what the last lines are, even where a line was split by it."""
    folder = tmp_path_factory.mktemp("log")
    log = log_in(folder, max_bytes=max_bytes)
    text = b"\n".join(lines) + (end if lines else b"")
    log.append(text)
    log.close()
    reported = tail(str(folder / "w.log"), count)
    read = last_lines(folder / "w.log", count)
    shutil.rmtree(folder)
    whole = text.removesuffix(b"\n").split(b"\n") if text else []
    expected = whole[-count:] if count else []
    assert [line.decode(errors="replace") for line in expected] == reported
    if count:
        assert expected == read


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    """A worker that never wrote anything is no error."""
    assert [] == tail(str(tmp_path / "w.log"), 10)
    assert [] == last_lines(tmp_path / "w.log", 10)


def test_a_log_that_can_not_be_read_says_so(tmp_path: Path) -> None:
    """A report is made all the same, and says why it has no lines."""
    (tmp_path / "w.log").symlink_to("w.log")
    path = str(tmp_path / "w.log")
    assert [f"[supervisord-ng: cannot read {path}: too many levels of symbolic links]"] == tail(
        path, 10
    )


def test_only_the_dead_incarnation_is_shown(tmp_path: Path) -> None:
    """`written` keeps the lines of an earlier incarnation out of the report."""
    log = log_in(tmp_path, max_bytes=40)
    log.append(b"earlier one\nearlier two\n")
    mark = log.mark()
    log.append(b"mine one\nmine two\nmine three\n")
    log.close()
    path = str(tmp_path / "w.log")
    assert ["mine one", "mine two", "mine three"] == tail(path, 50, written=log.since(mark))
    assert ["mine three"] == tail(path, 1, written=log.since(mark))
    assert [] == tail(path, 50, written=log.since(log.mark()))


def test_a_tail_is_bounded(tmp_path: Path) -> None:
    """Many long lines: only whole ones are given, no more than the budget; a longer one is cut and marked."""
    log = log_in(tmp_path)
    log.append(b"".join(b"%05d" % number + b"x" * 1000 + b"\n" for number in range(200)))
    lines = tail(str(tmp_path / "w.log"), 200)
    assert sum(len(line) + 1 for line in lines) <= limits.LOG_TAIL_BYTES
    assert [f"{number:05d}" + "x" * 1000 for number in range(200 - len(lines), 200)] == lines
    log.append(b"y" * (limits.LOG_LINE_MAX + 1) + b"\nlast \xff\n")
    log.close()
    long, last = tail(str(tmp_path / "w.log"), 2)
    assert "y" * limits.LOG_LINE_MAX + CUT_MARK.decode() == long
    assert "last \N{REPLACEMENT CHARACTER}" == last


class Following:
    """A follower in this thread, with a deadline on everything."""

    def __init__(self, *paths: Path, lines: int = 0) -> None:
        self.follower = Follower({path.parent.name: str(path) for path in paths}, lines)
        self.seen: list[tuple[str, bytes]] = []

    def until(self, count: int, timeout_s: float = 20.0) -> list[bytes]:
        """Follow until `count` lines were seen, and return them without their names."""
        deadline = time.monotonic() + timeout_s
        self.seen += self.follower.read()
        while len(self.seen) < count:
            assert time.monotonic() < deadline, f"only {len(self.seen)} of {count} lines"
            self.follower.wait(deadline - time.monotonic())
            self.seen += self.follower.read()
        return [line for _, line in self.seen]


@pytest.fixture(params=["inotify", "pause"])
def notified(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow with inotify, and as where it is not to be had: with no watch left, as the kernel's limit says."""
    if request.param == "pause":
        monkeypatch.setattr("supervisord_ng.reports.logfollow._open_inotify", lambda _: None)
        monkeypatch.setattr(limits, "LOG_POLL_S", 0.005)


@pytest.mark.usefixtures("notified")
def test_following_loses_and_doubles_nothing_across_rotations(tmp_path: Path) -> None:
    """A writer that rotates all the time while it is read, in blocks that end anywhere: each line once."""
    folder = tmp_path / "worker"
    folder.mkdir()
    lines = [b"%d %s" % (number, b"x" * (number % 50)) for number in range(10_000)]
    text = b"".join(line + b"\n" for line in lines)
    log = log_in(folder, max_bytes=1500)
    chance = random.Random(20)

    def write() -> None:
        start = 0
        while start < len(text):
            end = start + chance.randrange(1, 400)
            log.append(text[start:end])
            start = end

    following = Following(folder / "w.log")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = following.until(len(lines))
    finally:
        writer.join()
        following.follower.close()
        log.close()
    assert len(list(folder.iterdir())) > 100
    assert lines == seen


@pytest.mark.usefixtures("notified")
def test_following_begins_with_the_last_lines(tmp_path: Path) -> None:
    """The lines that are there, then each new one when it is complete, of several logs under their names."""
    one, two = tmp_path / "one", tmp_path / "two"
    logs = []
    for folder in (one, two):
        folder.mkdir()
        logs.append(log_in(folder))
    logs[0].append(b"a\nb\nc\nunfini")
    following = Following(one / "w.log", two / "w.log", lines=3)
    assert [b"b", b"c"] == following.until(2)
    logs[0].append(b"shed\n")
    following.until(3)
    logs[1].append(b"first ever\n")
    following.until(4)
    following.follower.close()
    for log in logs:
        log.close()
    assert [
        ("one", b"b"),
        ("one", b"c"),
        ("one", b"unfinished"),
        ("two", b"first ever"),
    ] == following.seen


@pytest.mark.usefixtures("notified")
@pytest.mark.parametrize("leave", ["delete", "rename", "truncate", "no backups"])
def test_following_goes_on_with_the_file_at_the_path(tmp_path: Path, leave: str) -> None:
    """A log that is moved, deleted, emptied or not kept: what is written next is seen, nothing old again."""
    folder = tmp_path / "worker"
    folder.mkdir()
    (folder / "w.log.1").write_bytes(b"old\n" * 100)
    log = log_in(folder, max_bytes=20 if leave == "no backups" else 0, backups=0)
    log.append(b"before\nunfinished")
    following = Following(folder / "w.log", lines=1)
    assert [] == following.until(0)
    if leave == "delete":
        (folder / "w.log").unlink()
    elif leave == "rename":
        (folder / "w.log").rename(tmp_path / "elsewhere")
    elif leave == "truncate":
        os.truncate(folder / "w.log", 0)
    log.append(b"after\n")
    expected = {
        "truncate": [b"after"],
        "no backups": [b"unfinishedafter"],
    }.get(leave, [b"unfinished", b"after"])
    seen = following.until(len(expected))
    following.follower.close()
    log.close()
    assert expected == seen


def test_no_watch_left_is_not_the_end(tmp_path: Path) -> None:
    """A folder that can not be watched is looked at now and then instead."""
    folder = tmp_path / "worker"
    log = log_in(folder)
    following = Following(folder / "w.log")
    log.append(b"there now\n")
    assert [b"there now"] == following.until(1)
    following.follower.close()
    log.close()
