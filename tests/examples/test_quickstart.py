"""The quickstart does before one's eyes what its README says."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisord_ng.model import paths
from tests.support import eventually

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples/quickstart/demo.py"
WORK_DONE = {"indexed": 148, "set aside": 2}
SHOWN_S = 120.0  # it takes seven where nothing else runs

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The directory and the outcome of one run, ended when it has shown everything."""
    base = tmp_path_factory.mktemp("demo")
    command = [sys.executable, str(DEMO), "--dir", str(base)]
    told = base / "told"
    with told.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: has_shown_all(base, told.read_text()), "all that it shows", SHOWN_S)
    finally:
        process.terminate()
        process.wait()
    return base, subprocess.CompletedProcess(command, process.returncode, told.read_text())


def has_shown_all(base: Path, told: str) -> bool:
    """Say whether nothing more is to come."""
    serves = "serving" in told.partition("GAVE UP")[2]
    return serves and "it hung" in told and work(base) == WORK_DONE


def work(base: Path) -> dict[str, int]:
    """How many documents are in which state."""
    with contextlib.closing(sqlite3.connect(base / "work/index.sqlite")) as index:
        return dict(index.execute("SELECT state, count(*) FROM documents GROUP BY state"))


Demo = tuple[Path, subprocess.CompletedProcess[str]]


def reports(base: Path) -> list[dict[str, Any]]:
    """The reports that it left, oldest first, read without a daemon."""
    sng = [sys.executable, "-m", "supervisord_ng.cli.main", "--state-dir", str(base / "state")]
    answer = subprocess.run([*sng, "crashes", "--json"], stdout=subprocess.PIPE, check=True)
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found[::-1]


def test_it_ends_in_order(demo: Demo) -> None:
    """Exit 0 after a SIGTERM."""
    _, outcome = demo

    assert 0 == outcome.returncode, outcome.stdout


def test_a_crash_is_healed(demo: Demo) -> None:
    """An indexer dies of a document that is not UTF-8, and is restarted."""
    crash = next(report for report in reports(demo[0]) if report["reason"] == "exit:1")

    assert "root/indexing/indexer@" in crash["path"]
    assert "restart" == crash["decision"]
    assert "UnicodeDecodeError" in crash["traceback"]


def test_a_hang_is_found_with_its_line(demo: Demo) -> None:
    """The report and the output of the demo name the function that never came back."""
    base, outcome = demo
    hang = next(report for report in reports(base) if report["reason"] == "heartbeat_timeout")

    assert ("restart", True) == (hang["decision"], "read_document" in hang["stacks"])
    assert "in read_document" in outcome.stdout


def test_a_supervisor_gives_up_and_is_healed_one_level_up(demo: Demo) -> None:
    """`site` gives up over a web server that cannot start; `root` starts it anew; it serves."""
    base, outcome = demo
    of_site = [
        (report["path"], report["reason"], report["decision"])
        for report in reports(base)
        if report["path"].startswith("root/site")
    ]

    assert 3 * [("root/site/web", "start_failed:exit:1", "restart")] == of_site[:3]
    assert ("root/site/web", "start_failed:exit:1", "give_up") == of_site[3]
    assert ("root/site", "reached_max_restart_intensity", "give_up") == of_site[4]
    assert ("root/site", "shutdown", "restart") == of_site[5]
    assert "serving" in outcome.stdout.partition("GAVE UP")[2]


def test_the_work_is_done_nevertheless(demo: Demo) -> None:
    """All documents are indexed but the two bad ones, which are set aside."""
    assert WORK_DONE == work(demo[0])


def test_reports_are_where_it_says(demo: Demo) -> None:
    """The path of the store stands in the output and is a file."""
    base, outcome = demo
    store = base / "state" / paths.STORE

    assert os.path.relpath(store) in outcome.stdout or str(store) in outcome.stdout
    assert store.is_file()


def test_nothing_is_left_running(demo: Demo) -> None:
    """No process of the tree outlives the demo."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("QUICKSTART_DIR") == str(demo[0] / "work"):
                left.append(process)

    assert [] == left
