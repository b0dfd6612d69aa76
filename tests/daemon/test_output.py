"""What workers write, under a whole daemon: nothing is lost, whoever dies, and a full disk stops nobody."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from supervisord_ng.control.client import Client
from tests.daemon.node import Node
from tests.needs import require_root
from tests.support import eventually, rounds

pytestmark = pytest.mark.process

WAIT_S = 60.0
NUMBERED = "import sys\nfor n in range(10_000): sys.stdout.write(f'line {n}\\n')\nsys.exit(1)"


def python(code: str) -> str:
    """A command in TOML that runs this code."""
    return json.dumps([sys.executable, "-c", code])


def log_of(node: Node, name: str) -> Path:
    """The file of a worker's log."""
    return node.state_dir / "log" / f"{name}.log"


def sng(node: Node, *args: str) -> subprocess.CompletedProcess[str]:
    """Run `sng` as a user would."""
    command = [sys.executable, "-m", "supervisord_ng.cli.main"]
    command += ["--runtime-dir", str(node.runtime_dir), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_ten_thousand_lines_and_then_the_end(short_dir: Path) -> None:
    """A worker writes them and dies at once: each time all are in the log, and the last in the report."""
    times = rounds(3)
    tree = f"""
[supervisor.root]
intensity = "infinity"
children = ["w"]
[worker.w]
command = {python(NUMBERED)}
backoff = {{ initial = "10ms", max = "10ms" }}
"""
    with Node(short_dir, tree) as node:
        node.wait_answering()
        eventually(lambda: len(node.crashes()) >= times, "enough crashes", WAIT_S + times)
        node.ask("stop", paths=["w"])
        reports = node.crashes()
    lines = log_of(node, "w").read_text().splitlines()
    runs = len(lines) // 10_000
    assert runs >= times
    # The last run may have been stopped in the middle.
    assert [f"line {n}" for n in range(10_000)] * times == lines[: times * 10_000]
    for report in reports[:times]:
        assert [f"line {n}" for n in range(9_950, 10_000)] == report["log_tail"]


def test_json_and_times(short_dir: Path) -> None:
    """In the file, in reports and on the terminal: an object a line, shown as what was written."""
    code = "import os, sys; os.write(2, b'error\\n'); os.write(1, b'out \\xff'); sys.exit({})"
    tree = f"""
[worker.crashing]
command = {python(code.format(1))}
restart = "temporary"
log = {{ format = "json" }}
[worker.j]
command = {python(code.format(0))}
restart = "transient"
log = {{ format = "json" }}
[worker.t]
command = {python("print('one')")}
restart = "transient"
log = {{ timestamps = true }}
"""
    with Node(short_dir, tree) as node:
        node.wait_answering()
        (report,) = eventually(node.crashes, "a report", WAIT_S)
        assert {"error", "out \ufffd"} == set(report["log_tail"])
        for name in ("j", "t"):
            eventually(lambda name=name: node.row(name)["state"] == "exited", name, WAIT_S)  # type: ignore[misc]
        assert {"error", "out \ufffd"} == set(sng(node, "logs", "j").stdout.splitlines())
        assert sng(node, "logs", "t").stdout.endswith("Z one\n")
    found = [json.loads(line) for line in log_of(node, "j").read_text().splitlines()]
    assert {"stdout": "out \ufffd", "stderr": "error"} == {it["stream"]: it["line"] for it in found}


def test_what_is_written_while_no_daemon_runs(short_dir: Path) -> None:
    """The daemon is killed, then the worker, with words in between: the next daemon logs them."""
    go = short_dir / "go"
    code = (
        "import os, time\nprint('before', flush=True)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
        "print('last words', flush=True)"
    )
    tree = f'[worker.w]\ncommand = {python(code)}\nrestart = "temporary"\n'
    with Node(short_dir, tree) as node:
        worker = node.wait_up().pids()["w"]
        eventually(lambda: log_of(node, "w").exists(), "the first words", WAIT_S)
        node.signal(signal.SIGKILL)
        node.ends()
        go.touch()
        eventually(lambda: not psutil.pid_exists(worker), "the end of the worker", WAIT_S)
        assert b"before\n" == log_of(node, "w").read_bytes()
        node.start()
        eventually(lambda: b"last words\n" in log_of(node, "w").read_bytes(), "them", WAIT_S)
        node.wait_up()


def test_nobody_is_left_after_an_orderly_stop(short_dir: Path) -> None:
    """No keeper, no name of a pipe: `systemctl stop` leaves nothing behind."""
    with Node(short_dir, '[worker.w]\ncommand = "sleep 1000"\n') as node:
        node.wait_up()
        below = psutil.Process(node.pid).children()
        assert (node.runtime_dir / "output" / "w.out").is_symlink()
    assert [] == [process for process in below if process.is_running()]
    assert not (node.runtime_dir / "output").exists()


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A file system of 1 MiB at `path`."""
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "sng-test", path], check=False
    )
    if done.returncode:
        pytest.skip("this host cannot mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_full_disk_stops_nobody(short_dir: Path) -> None:
    """Worker and daemon go on, drops are counted in `status`; with space again the log goes on, and says it."""
    require_root()
    flood = "import time\nwhile True: print('x' * 9999, flush=True); time.sleep(0.001)"
    with small_disk(short_dir / "log") as disk:
        tree = f'[node]\nlog_dir = "{disk}"\n[worker.w]\ncommand = {python(flood)}\n'
        with Node(short_dir, tree) as node:
            pid = node.wait_up().pids()["w"]
            eventually(lambda: node.row("w")["log_dropped_bytes"] > 10_000, "drops", WAIT_S)
            assert (pid, "running") == (node.row("w")["pid"], node.row("w")["state"])
            assert "cannot log output of w: no space left on device" in node.stderr.read_text()
            (disk / "w.log").unlink()
            lost = b"bytes of output lost: no space left on device]\n"
            eventually(lambda: lost in (disk / "w.log").read_bytes(), "recovery", WAIT_S)
            assert pid == node.row("w")["pid"]


def test_the_daemon_reads_logs_for_others(short_dir: Path) -> None:
    """For members of the control group, who may not look into log_dir: what is there, and what comes."""
    tree = """
[worker.a]
command = ["sh", "-c", "echo one; echo two; exec sleep 1000"]
[worker.b]
command = ["sh", "-c", "echo three; exec sleep 1000"]
log = { format = "json" }
[worker.silent]
command = "sleep 1000"
stdout = "null"
stderr = "null"
"""
    with Node(short_dir, tree) as node, Client(str(node.runtime_dir)) as client:
        node.wait_up()
        for name, text in (("a", b"two"), ("b", b"three")):
            file = log_of(node, name)
            eventually(lambda file=file, text=text: text in file.read_bytes(), name, WAIT_S)  # type: ignore[misc]
        last = [{"name": "a", "line": "two"}, {"name": "b", "line": "three"}]
        assert last == list(client.stream("logs", {"lines": 1}))
        following = client.stream("logs", {"paths": ["a"], "lines": 1, "follow": True})
        assert last[0] == next(following)
        for line in ("four", "five"):
            with log_of(node, "a").open("a") as more:
                more.write(f"{line}\n")
            assert {"name": "a", "line": line} == next(following)
