"""What ``sng status`` prints and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from supervisord_ng.cli import output
from supervisord_ng.cli.status import is_as_wanted
from supervisord_ng.errors import ControlError
from supervisord_ng.model.status import ParentLink, Rejected, ReportCounts, Row, State
from tests.cli.canned import canned, node, sng, supervisor, worker

TREE = node(
    supervisor("root", uptime_s=7391.5, strategy="rest_for_one"),
    worker("root/queue", pid=813, uptime_s=7391.0),
    supervisor("root/pool", uptime_s=273906.0, restarts=1, intensity=None, restarts_in_window=2),
    worker("root/pool/resize@1", pid=815, uptime_s=12.0, restarts=3, last_exit="exit:1"),
    worker(
        "root/pool/resize@2",
        State.BACKOFF,
        restarts=7,
        last_exit="signal:SIGSEGV",
        backoff_s=1.25,
        log_dropped_bytes=5,
    ),
    worker(
        "root/pool/hash", pid=816, uptime_s=86400.0, beat_age_s=0.42, status_text="job\x1b[2J 7"
    ),
    worker("root/pool/tool", State.STOPPED, autostart=False),
    worker("root/pool/late", State.WAITING),
)

TEXT = r"""node web-1: running, pid 812, up 2:03:11, version 0.1.0
crash reports: 3 stored, 0 waiting, 0 dropped

NAME          STATE    PID  UPTIME           RESTARTS  LAST EXIT
root          running  -    2:03:11          0         -               rest_for_one, restarts 0/5 in 10s
  queue       running  813  2:03:11          0         -
  pool        running  -    3 days, 4:05:06  1         -               one_for_one, restarts 2 in 10s
    resize@1  running  815  0:00:12          3         exit:1
    resize@2  backoff  -    -                7         signal:SIGSEGV  restarts in 1.2s, 5 bytes of output lost
    hash      running  816  1 day, 0:00:00   0         -               beat 0.4s ago, job\x1b[2J 7
    tool      stopped  -    -                0         -               autostart = false
    late      waiting  -    -                0         -               an earlier one is not ready yet
"""


def test_the_tree_is_a_table() -> None:
    """One line a child, names first and indented, nothing of a worker's that moves a cursor."""
    with canned(status=TREE) as daemon:
        result = daemon.sng("status")
    assert TEXT == result.stdout
    assert result.exit_code == 3


def test_of_some_only_the_table_is_shown() -> None:
    """The paths go to the daemon, which filters; the node itself is not of interest."""
    with canned(status=node(worker("root/queue", pid=813, uptime_s=1.0))) as daemon:
        result = daemon.sng("status", "queue", "pool/hash")
        asked = daemon.asked
    assert asked == [("status", {"paths": ["queue", "pool/hash"]})]
    assert result.stdout == (
        "NAME     STATE    PID  UPTIME   RESTARTS  LAST EXIT\n"
        "  queue  running  813  0:00:01  0         -\n"
    )
    assert result.exit_code == 0


def test_what_is_unusual_about_the_node_is_said() -> None:
    """Lost reports, rejected messages and the link to the parent have lines of their own."""
    told = node(
        supervisor("root"),
        reports=ReportCounts(stored=1, waiting=2, dropped=3),
        rejected=Rejected(heartbeat=4, control=5),
        parent=ParentLink(node="core", link="down", since=1.0),
    )
    with canned(status=told) as daemon:
        lines = daemon.sng("status").stdout.splitlines()
    assert lines[1:4] == [
        "crash reports: 1 stored, 2 waiting, 3 dropped",
        "rejected messages: 4 heartbeat, 5 control",
        "parent node core: link down",
    ]


def test_json_is_what_the_daemon_says() -> None:
    """Every key of the reference is there, and missing values are null."""
    with canned(status=TREE) as daemon:
        result = daemon.sng("status", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 3
    assert set(document) == {
        "node",
        "state",
        "pid",
        "version",
        "uptime_s",
        "loop_lag_ms",
        "parent",
        "reports",
        "rejected",
        "children",
    }
    assert document["parent"] is None
    assert document["children"][1] == {
        "path": "root/queue",
        "name": "queue",
        "kind": "worker",
        "supervisor": "root",
        "state": "running",
        "ready": True,
        "pid": 813,
        "incarnation": 1,
        "uptime_s": 7391.0,
        "restarts": 0,
        "last_exit": None,
        "beat_age_s": None,
        "status_text": None,
        "log_dropped_bytes": None,
        "strategy": None,
        "intensity": None,
        "period_s": None,
        "restarts_in_window": None,
        "autostart": True,
        "last_exit_ok": None,
        "backoff_s": None,
        "adopted": False,
    }


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (worker("root/a"), True),
        (worker("root/a", State.EXITED, last_exit="normal", last_exit_ok=True), True),
        (worker("root/a", State.EXITED, last_exit="exit:1", last_exit_ok=False), False),
        (worker("root/a", State.STOPPED, autostart=False), True),
        (worker("root/a", State.STOPPED), False),
        (worker("root/a", State.WAITING), False),
        (worker("root/a", State.STARTING), False),
        (worker("root/a", State.STOPPING), False),
        (worker("root/a", State.BACKOFF), False),
        (worker("root/a", State.RESTARTING), False),
        (worker("root/a", State.FAILED), False),
        (worker("root/a", State.LOST), False),
    ],
    ids=lambda value: value.state.value if isinstance(value, Row) else str(value),
)
def test_what_is_as_the_configuration_wants_it(row: Row, *, expected: bool) -> None:
    """Running, ended normally, or not started because of autostart = false."""
    with canned(status=node(supervisor("root"), row)) as daemon:
        status = 0 if expected else 3
        assert daemon.sng("status").exit_code == status
        assert daemon.sng("status", "--json").exit_code == status
    assert expected == is_as_wanted({"state": row.state, **_facts(row)})


def _facts(row: Row) -> dict[str, object]:
    return {"autostart": row.autostart, "last_exit_ok": row.last_exit_ok}


def test_an_unknown_name_is_4_with_a_hint() -> None:
    """LSB: the status of what is not known is unknown."""
    error = ControlError("not_found", "no such worker or supervisor: quue", "did you mean queue?")
    with canned(status=error) as daemon:
        result = daemon.sng("status", "quue")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == "sng: no such worker or supervisor: quue (did you mean queue?)\n"


def test_no_daemon_is_4(short_dir: Path) -> None:
    """The message says where it was looked for and how to start one."""
    result = sng("--runtime-dir", str(short_dir), "status")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        f"sng: cannot reach a daemon on {short_dir}/control.sock: no such socket"
        " (start one with 'sng run TREE.toml' or 'supervisord-ng -c TREE.toml')\n"
    )


def test_another_refusal_is_1() -> None:
    """A daemon that cannot answer is there, and nothing is unknown."""
    with canned(status=ControlError("failed", "cannot status: internal error")) as daemon:
        assert daemon.sng("status").exit_code == 1


def test_the_runtime_directory_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """SNG_RUNTIME_DIR names the daemon where no option does."""
    with canned(status=node(supervisor("root"))) as daemon:
        monkeypatch.setenv("SNG_RUNTIME_DIR", daemon.serving.runtime_dir)
        assert sng("status").exit_code == 0


def test_colour_is_for_terminals_whose_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not into pipes unless FORCE_COLOR says so, not with NO_COLOR, not for TERM=dumb."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert output.wants_colour()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.wants_colour()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not output.wants_colour()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert not output.wants_colour()
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert output.wants_colour()


def test_a_coloured_table_keeps_its_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Colour surrounds the padded cell, so that it does not count as width."""
    monkeypatch.setattr(output, "wants_colour", lambda: True)
    output.print_table([("A", "B"), (output.Cell("x", "good"), "y"), ("long", "z")])
    assert capsys.readouterr().out == ("\x1b[2mA     B\x1b[0m\n\x1b[32mx   \x1b[0m  y\nlong  z\n")


def test_status_imports_nothing_slow() -> None:
    """No event loop, no ZeroMQ, no psutil, no msgspec: a status is over before they were loaded."""
    script = """
import sys
from supervisord_ng.cli.main import cli
try:
    cli(["--runtime-dir", sys.argv[1], "status"], prog_name="sng")
except SystemExit as end:
    assert end.code == 0, end.code
slow = ("asyncio", "zmq", "psutil", "msgspec", "rich", "structlog", "sqlite3", "subprocess")
print([name for name in slow if name in sys.modules])
"""
    with canned(status=node(supervisor("root"))) as daemon:
        said = subprocess.run(
            [sys.executable, "-c", script, daemon.serving.runtime_dir],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    assert said.stdout.splitlines()[-1] == "[]"
