"""check, init, run: the verbs that need a file and no daemon."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.cli.canned import sng

GOOD = """\
[node]
name = "web-1"

[supervisor.root]
strategy = "rest_for_one"
children = ["queue", "pool"]

[supervisor.pool]
children = ["resize"]
intensity = "infinity"
restart = "transient"

[worker.queue]
command = "redis-server --port 6400"
ready = "notify"

[worker.resize]
command = ["python", "resize.py"]
instances = 2
restart = "temporary"
autostart = false
"""

TREE = """\
node web-1
NAME          RESTART    READY
root          permanent          rest_for_one, at most 5 restarts in 10s
  queue       permanent  notify  redis-server --port 6400
  pool        transient          one_for_one, at most any number of restarts in 10s
    resize@1  temporary  exec    python resize.py (not started by itself: autostart = false)
    resize@2  temporary  exec    python resize.py (not started by itself: autostart = false)
"""

# Alone it never reaches five restarts in a second: a warning, not an error.
DOUBTFUL = """\
[supervisor.root]
children = ["slow"]
period = "1s"

[worker.slow]
command = "true"
backoff = { initial = "10s" }
"""

WRONG = """\
[worker.a]
comand = "true"

[worker.b]
command = "true"
restart = "sometimes"
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a tree is to be written; directories of the node are given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    return tmp_path / "tree.toml"


def test_check_shows_the_tree(tree: Path) -> None:
    """Indented in start order, with what decides over restart and readiness."""
    tree.write_text(GOOD)
    said = sng("check", "tree.toml")
    lines = said.stdout.splitlines()
    assert [line.rstrip() for line in TREE.splitlines()] == lines
    assert said.exit_code == 0


def test_check_as_json(tree: Path) -> None:
    """The same, nested."""
    tree.write_text(GOOD)
    document = json.loads(sng("check", "tree.toml", "--json").stdout)
    assert (document["ok"], document["problems"]) == (True, [])
    root = document["tree"]
    assert [child["path"] for child in root["children"]] == ["root/queue", "root/pool"]
    assert root["children"][1]["intensity"] is None
    assert root["children"][0] == {
        "path": "root/queue",
        "name": "queue",
        "restart": "permanent",
        "kind": "worker",
        "command": ["redis-server", "--port", "6400"],
        "ready": "notify",
        "autostart": True,
    }


def test_check_names_every_problem(tree: Path) -> None:
    """One line each, with its place, as compilers do; 78 is sysexits' EX_CONFIG."""
    tree.write_text(WRONG)
    said = sng("check", "tree.toml")
    *problems, summary = said.stderr.splitlines()
    assert (said.exit_code, said.stdout) == (78, "")
    assert summary == f"sng: cannot use tree.toml: {len(problems)} problems"
    assert [problem.rpartition("tree.toml:")[2].partition(":")[0] for problem in problems] == [
        "1",
        "2",
        "6",
    ]


def test_check_names_problems_as_json(tree: Path) -> None:
    """For editors."""
    tree.write_text(WRONG)
    said = sng("check", "tree.toml", "--json")
    document = json.loads(said.stdout)
    assert said.exit_code == 78
    assert (document["ok"], document["tree"]) == (False, None)
    assert {problem["line"] for problem in document["problems"]} == {1, 2, 6}


def test_a_missing_file_is_78(tree: Path) -> None:
    """No configuration is a wrong configuration."""
    said = sng("check", str(tree))
    assert said.exit_code == 78
    assert str(tree) in said.stderr


def test_warnings_are_errors_when_strict(tree: Path) -> None:
    """Otherwise they are only said."""
    tree.write_text(DOUBTFUL)
    mild, strict = sng("check", "tree.toml"), sng("check", "--strict", "tree.toml")
    assert (mild.exit_code, strict.exit_code) == (0, 78)
    assert ": warning: " in mild.stderr
    assert strict.stderr == mild.stderr + "sng: cannot use tree.toml: 1 warning, and --strict\n"


def test_what_init_writes_is_right(tree: Path) -> None:
    """It passes the strictest check."""
    written = sng("init")
    assert (written.exit_code, tree.exists()) == (0, True)
    checked = sng("check", "--strict", "tree.toml")
    assert (checked.exit_code, checked.stderr) == (0, "")


def test_init_never_writes_over_a_file(tree: Path) -> None:
    """What is there stays."""
    tree.write_text("precious")
    said = sng("init", str(tree))
    assert (said.exit_code, said.stderr) == (1, f"sng: cannot write {tree}: file exists\n")
    assert tree.read_text() == "precious"


def test_run_becomes_the_daemon(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By exec: same process, same terminal, and a module of the working directory shadows nothing."""
    started: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda path, argv: started.append((path, argv)))
    sng("--runtime-dir", "/r", "run", "tree.toml", "--state-dir", "/s")
    command = [sys.executable, "-P", "-m", "supervisord_ng", "--console", "-c", "tree.toml"]
    command += ["--runtime-dir", "/r", "--state-dir", "/s"]
    assert started == [(sys.executable, command)]
