"""The three workers with the SDK: what they do, and what becomes of a crash and a hang in each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.node import REPOSITORY, Node
from tests.support import eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]

EXAMPLE = REPOSITORY / "examples/python-worker"
NAMES = ("blocking", "threads", "tasks")
# The functions in which they hang, at the bottom of a stack each: of a thread, or of a task.
STUCK = {
    "blocking": "in wait_for_godot",
    "threads": "in wait_for_godot",
    "tasks": "in an_answer_that_never_comes",
}
WAIT_S = 60.0


@pytest.fixture
def example(short_dir: Path) -> Path:
    """A copy of the example, with a shorter patience and this very Python."""
    for file in EXAMPLE.glob("*.py"):
        shutil.copy(file, short_dir)
    tree = (EXAMPLE / "tree.toml").read_text()
    changes = {
        '"python"': f'"{sys.executable}"',
        'interval = "1s", timeout = "5s"': 'interval = "200ms", timeout = "3s"',
        'directory = "."': f'environment = {{ PYTHONPATH = "{REPOSITORY}" }}\ndirectory = "."',
    }
    for old, new in changes.items():
        assert old in tree
        tree = tree.replace(old, new)
    (short_dir / "tree.toml").write_text(tree)
    return short_dir


def give(example: Path, name: str, job: str, text: str) -> None:
    """Put a file into the directory of a worker, all at once."""
    new = example / job
    new.write_text(text)
    spool = example / "spool" / name
    spool.mkdir(parents=True, exist_ok=True)
    new.rename(spool / job)


def test_they_work_crash_hang_and_end(example: Path) -> None:
    """Each of them does its work, and what goes wrong is reported with its line and healed."""
    with Node(example, (example / "tree.toml").read_text()) as node:
        node.wait_up(WAIT_S)

        def counted(name: str, job: str) -> bool:
            return f"{job}: 3 words" in (node.state_dir / f"log/{name}.log").read_text()

        def all_count(job: str) -> None:
            for name in NAMES:
                give(example, name, job, "three words here")
            eventually(
                lambda: all(counted(name, job) for name in NAMES), f"all count {job}", WAIT_S
            )

        all_count("first")
        for name in NAMES:
            give(example, name, "second", "crash")
        eventually(lambda: len(node.crashes()) == len(NAMES), "a report of each", WAIT_S)
        eventually(lambda: all_told(node, "cannot count second"), "tracebacks", WAIT_S)
        all_count("third")

        before = node.pids()
        for name in NAMES:
            give(example, name, "fourth", "hang")
        eventually(lambda: len(node.crashes()) == 2 * len(NAMES), "another one of each", WAIT_S)
        hangs = {report["worker"]: report for report in node.crashes()[len(NAMES) :]}
        assert {"heartbeat_timeout"} == {report["reason"] for report in hangs.values()}
        assert before == {name: report["pid"] for name, report in hangs.items()}
        assert [] == [name for name in NAMES if STUCK[name] not in hangs[name]["stacks"]]
        all_count("fifth")

        node.ask("stop", paths=["all"])
        assert {"exit:0"} == {node.row(name)["last_exit"] for name in NAMES}
        assert 2 * len(NAMES) == len(node.crashes())


def all_told(node: Node, what: str) -> bool:
    """Whether every report has these words in its traceback."""
    return all(what in (report["traceback"] or "") for report in node.crashes())


@pytest.mark.parametrize("name", NAMES)
def test_by_hand_they_do_the_same_work(example: Path, name: str) -> None:
    """Without a supervisor nobody is spoken to, and SIGTERM means what it always does."""
    give(example, name, "first", "three words here")
    command = [sys.executable, f"{name}.py", f"spool/{name}"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, cwd=example, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "first: 3 words\n" == process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert -signal.SIGTERM == process.wait(WAIT_S)
