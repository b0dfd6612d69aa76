"""logs, events, crashes: what is read from the daemon, from log files and from the store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisord_ng import limits
from supervisord_ng.errors import ControlError
from supervisord_ng.model.paths import STORE
from supervisord_ng.model.reports import Context, CrashReport, Decision, Event, EventName
from supervisord_ng.reports.stats import FingerprintCount, Stats
from supervisord_ng.reports.store import Store
from tests.cli.canned import canned, sng


def plain(value: Any) -> Any:
    """What becomes of a value on its way through JSON."""
    return json.loads(msgspec.json.encode(value))


def log(path: str, file: Path | None, form: str = "raw") -> dict[str, Any]:
    """One log as the daemon names it."""
    name = path.rpartition("/")[2]
    return {"path": path, "name": name, "file": file and str(file), "backups": 10, "format": form}


def test_the_log_of_one_worker_is_raw(tmp_path: Path) -> None:
    """Byte by byte as it was written, the last lines first counted over rotated files."""
    (tmp_path / "a.log.1").write_bytes(b"one\ntwo\n")
    (tmp_path / "a.log").write_bytes(b"\x1b[1mthr\xffee\nunfinished")
    with canned(logs_files={"logs": [log("root/a", tmp_path / "a.log")]}) as daemon:
        said = daemon.sng("logs", "a", "-n", "3")
    assert daemon.asked == [("logs.files", {"paths": ["a"]})]
    assert said.stdout_bytes == b"two\n\x1b[1mthr\xffee\nunfinished\n"


def test_the_logs_of_several_are_prefixed(tmp_path: Path) -> None:
    """Each line begins with the name of its worker, in one column. `tail` is the same verb."""
    (tmp_path / "a.log").write_text("1\n2\n")
    (tmp_path / "long.log").write_text("3\n")
    logs = [log("root/a", tmp_path / "a.log"), log("root/long", tmp_path / "long.log")]
    with canned(logs_files={"logs": logs}) as daemon:
        said = daemon.sng("tail", "all")
    assert said.stdout == "a    | 1\na    | 2\nlong | 3\n"


def test_logs_as_json(tmp_path: Path) -> None:
    """One object a line."""
    (tmp_path / "a.log").write_bytes(b'say "hi"\n\xff\n')
    with canned(logs_files={"logs": [log("root/a", tmp_path / "a.log")]}) as daemon:
        said = daemon.sng("logs", "a", "--json")
    assert [json.loads(line) for line in said.stdout.splitlines()] == [
        {"name": "a", "line": 'say "hi"'},
        {"name": "a", "line": "�"},
    ]


def test_a_log_in_json_is_shown_as_it_was_written(tmp_path: Path) -> None:
    """The objects are for programs that read the file; what is no object is shown as well."""
    text = '{"time":1.5,"stream":"stderr","line":"w\\u00f6rds"}\n[supervisord-ng: lost]\n'
    (tmp_path / "a.log").write_text(text)
    with canned(logs_files={"logs": [log("root/a", tmp_path / "a.log", "json")]}) as daemon:
        assert daemon.sng("logs", "a").stdout == "w\u00f6rds\n[supervisord-ng: lost]\n"


def test_who_may_not_read_the_files_asks_the_daemon(tmp_path: Path) -> None:
    """Members of the control group see the same."""
    away = tmp_path / "not" / "for us"
    logs = [log("root/a", away / "a.log"), log("root/b", away / "b.log")]
    items = [{"name": "a", "line": "one"}, {"name": "b", "line": "t\u00f6o"}]
    with canned(logs_files={"logs": logs}, logs=items) as daemon:
        said = daemon.sng("logs", "a", "b", "-n", "1")
    assert said.stdout == "a | one\nb | t\u00f6o\n"
    assert daemon.asked[1] == ("logs", {"paths": ["a", "b"], "lines": 1, "follow": False})


def test_a_log_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    """A worker that has written nothing has no file."""
    with canned(logs_files={"logs": [log("root/a", tmp_path / "a.log")]}) as daemon:
        said = daemon.sng("logs", "a")
    assert (said.exit_code, said.stdout, said.stderr) == (0, "", "")


def test_output_that_is_not_captured_is_named() -> None:
    """Instead of showing nothing."""
    with canned(logs_files={"logs": [log("root/a", None)]}) as daemon:
        said = daemon.sng("logs", "a")
    assert said.stderr == "sng: cannot show the log of root/a: its output is not captured\n"


def test_logs_are_followed(tmp_path: Path) -> None:
    """What is written later is shown, until whoever reads has enough."""
    file = tmp_path / "a.log"
    file.write_text("before\n")
    with canned(logs_files={"logs": [log("root/a", file)]}) as daemon:
        command = [sys.executable, "-m", "supervisord_ng.cli.main"]
        command += ["--runtime-dir", daemon.serving.runtime_dir, "logs", "-f", "a"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
            assert following.stdout is not None
            try:
                assert following.stdout.readline() == "before\n"
                with file.open("a") as more:
                    more.write("after\n")
                assert following.stdout.readline() == "after\n"
            finally:
                following.kill()


EVENTS = [
    Event(
        seq=7,
        time=1.5,
        node="web-1",
        event=EventName.CRASHED,
        path="root/a",
        incarnation=2,
        reason="exit:1",
    ),
    Event(
        seq=8,
        time=2.5,
        node="web-1",
        event=EventName.SHUTDOWN,
        path=None,
        incarnation=None,
        detail="an \x1b[2J end",
    ),
]


def test_events_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """When, which number, who, what."""
    monkeypatch.setenv("TZ", "UTC")
    with canned(events=EVENTS) as daemon:
        said = daemon.sng("events", "--since", "6")
    assert daemon.asked == [("events", {"since": 6, "follow": False})]
    assert [line.split()[2:5] for line in said.stdout.splitlines()] == [
        ["7", "root/a", "CRASHED:"],
        ["8", "web-1", "shutting"],
    ]
    assert "\x1b" not in said.stdout


def test_events_as_json() -> None:
    """One object a line, as the daemon sends them."""
    with canned(events=EVENTS) as daemon:
        said = daemon.sng("events", "-f", "--json")
    assert daemon.asked == [("events", {"since": None, "follow": True})]
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    assert lines == plain(EVENTS)


def test_following_ends_well_when_the_daemon_ends(tmp_path: Path) -> None:
    """The end of the stream is the end of the command, not a failure."""
    with canned(events=EVENTS) as daemon:
        assert daemon.sng("events", "-f").exit_code == 0


def test_a_refused_stream_is_a_failure() -> None:
    """As for any verb."""
    with canned(events=ControlError("failed", "cannot tell")) as daemon:
        said = daemon.sng("events")
    assert (said.exit_code, said.stderr) == (1, "sng: cannot tell\n")


REPORT = CrashReport(
    id="01890a5d-ac96-774b-bcce-b302099a8057",
    node="web-1",
    path="root/a",
    worker="a",
    incarnation=2,
    pid=17,
    started=1.0,
    ended=3.0,
    reason="exit:1",
    context=Context.CHILD_TERMINATED,
    decision=Decision.RESTART,
    restarts_in_window=1,
    intensity=5,
    period_s=10.0,
    ancestors=("root",),
    log_tail=("last words",),
)
STATS = Stats(
    stored=1,
    waiting=0,
    dropped=2,
    expired=0,
    fingerprints=(
        FingerprintCount(
            path="root/a",
            reason="exit:1",
            context=Context.CHILD_TERMINATED,
            frame=None,
            count=1,
            first=3.0,
            last=3.0,
        ),
    ),
)


@pytest.mark.parametrize("args", [("crashes",), ("crashes", "list")])
def test_crashes_are_listed(args: tuple[str, ...]) -> None:
    """A screenful unless told otherwise, one line each."""
    with canned(version={"node": "web-1"}, crashes_list={"reports": [REPORT]}) as daemon:
        said = daemon.sng(*args)
    assert daemon.asked[-1] == ("crashes.list", {"limit": 20, "paths": []})
    assert said.exit_code == 0
    assert "root/a" in said.stdout
    assert "exit:1" in said.stdout


def test_crashes_as_json_are_whole() -> None:
    """All that are kept, an array, every key of the reference."""
    with canned(version={"node": "web-1"}, crashes_list={"reports": [REPORT]}) as daemon:
        said = daemon.sng("crashes", "--json")
        assert daemon.asked[-1] == ("crashes.list", {"limit": None, "paths": []})
        daemon.sng("crashes", "-n", "5", "a", "--json")
        assert daemon.asked[-1] == ("crashes.list", {"limit": 5, "paths": ["a"]})
    assert json.loads(said.stdout) == [plain(REPORT)]


def test_one_crash_is_shown_whole() -> None:
    """By its id, or the newest."""
    answers: dict[str, Any] = {"crashes_show": REPORT, "crashes_list": {"reports": [REPORT]}}
    with canned(version={"node": "web-1"}, **answers) as daemon:
        by_id = daemon.sng("crashes", "show", "099a8057")
        assert daemon.asked[-1] == ("crashes.show", {"id": "099a8057"})
        newest = daemon.sng("crashes", "show")
        document = daemon.sng("crashes", "show", "--json", "099a8057")
    assert "last words" in by_id.stdout
    assert by_id.stdout == newest.stdout
    assert json.loads(document.stdout) == plain(REPORT)


def test_no_newest_crash_is_a_failure() -> None:
    """There is nothing to show."""
    with canned(version={"node": "web-1"}, crashes_list={"reports": []}) as daemon:
        said = daemon.sng("crashes", "show")
    assert (said.exit_code, said.stdout) == (1, "")


def test_crashes_are_counted() -> None:
    """What was lost stands beside what is kept."""
    with canned(version={"node": "web-1"}, crashes_stats=STATS) as daemon:
        text = daemon.sng("crashes", "stats").stdout
        document = json.loads(daemon.sng("crashes", "stats", "--json").stdout)
    assert "2 dropped" in text
    assert document == plain(STATS)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A state directory in whose store `REPORT` lies."""
    store = Store.open(
        str(tmp_path / STORE),
        keep_ns=limits.REPORTS_KEEP_DEFAULT_NS,
        max_count=limits.REPORTS_MAX_COUNT_DEFAULT,
        on_problem=pytest.fail,
        clock=lambda: REPORT.ended,
    )
    store.append(REPORT)
    assert store.close(timeout_s=10) == 0
    return tmp_path


def test_a_named_store_is_read_without_a_daemon(state_dir: Path, short_dir: Path) -> None:
    """`--state-dir` is enough, for every sub-verb."""
    options = ("--state-dir", str(state_dir), "--runtime-dir", str(short_dir), "crashes")
    assert json.loads(sng(*options, "--json").stdout) == [plain(REPORT)]
    assert json.loads(sng(*options, "root/a", "--json").stdout) == [plain(REPORT)]
    assert json.loads(sng(*options, "root/b", "--json").stdout) == []
    assert "last words" in sng(*options, "show").stdout
    assert sng(*options, "stats", "--json").exit_code == 0


def test_without_a_daemon_the_usual_store_is_read(
    state_dir: Path, short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said which one."""
    monkeypatch.setenv("STATE_DIRECTORY", str(state_dir))
    said = sng("--runtime-dir", str(short_dir), "crashes", "--json")
    assert json.loads(said.stdout) == [plain(REPORT)]
    assert said.stderr.endswith(f"; reading {state_dir}/store.sqlite\n")


def test_without_daemon_and_store_it_is_7(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for any verb that needs a daemon."""
    monkeypatch.setenv("STATE_DIRECTORY", str(short_dir))
    assert sng("--runtime-dir", str(short_dir), "crashes").exit_code == 7


def test_a_store_that_is_not_there_is_a_failure(short_dir: Path) -> None:
    """A directory that was named and holds no store is a mistake, not an empty list."""
    said = sng("--state-dir", str(short_dir), "crashes")
    assert said.exit_code == 1
    assert str(short_dir) in said.stderr
    assert not os.listdir(short_dir)
