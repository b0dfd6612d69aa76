"""Another configuration for a running daemon: exactly what diff has said changes, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisord_ng.errors import ControlError
from tests.daemon.node import REPOSITORY, Node
from tests.support import eventually

pytestmark = pytest.mark.process

WORKERS = int(os.environ.get("RELOAD_WORKERS", "20"))


def tree(*workers: str, root: str = "") -> str:
    """Sleeping workers under one supervisor; each as "name" or as "name key = value"."""
    text = ""
    for worker in workers:
        name, _, keys = worker.partition(" ")
        text += f'[worker.{name}]\ncommand = "sleep 1000"\n{keys}\n'
    listed = ", ".join(f'"{worker.partition(" ")[0]}"' for worker in workers)
    return f"[supervisor.root]\nchildren = [{listed}]\n{root}\n{text}"


def sng(node: Node, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a user has it."""
    command = [
        sys.executable,
        "-m",
        "supervisord_ng.cli.main",
        "--runtime-dir",
        str(node.runtime_dir),
    ]
    return subprocess.run(
        [*command, *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )


def acts(comparison: dict[str, Any]) -> dict[str, str]:
    """What becomes of whom."""
    return {change["path"].removeprefix("root/"): change["act"] for change in comparison["changes"]}


def test_exactly_those_that_diff_has_named(short_dir: Path) -> None:
    """One added, one removed, one changed, one changed harmlessly; all others keep their pids."""
    names = [f"w{number}" for number in range(WORKERS)]
    with Node(short_dir, tree(*names)) as node:
        node.wait_up()
        before = node.pids()
        new = short_dir / "new.toml"
        changed = [*names[1:], "new"]
        changed[1] += ' environment = { MODE = "fast" }'
        changed[2] += ' log = { max_bytes = "1M" }'
        new.write_text(tree(*changed))

        said = sng(node, "diff", str(new))
        assert 1 == said.returncode
        assert [
            f"- root/w0: is stopped and removed (pid {before['w0']})",
            f"! root/w2: is stopped and started (pid {before['w2']})",
            "    environment.MODE: none -> set",
            "~ root/w3: changes in place",
            '    log.max_bytes: "50M" -> "1M"',
            "+ root/new: is added and started",
            "1 added, 1 removed, 1 restarted, 1 changed in place",
        ] == said.stdout.splitlines()
        assert before == node.pids()

        done = sng(node, "reload", str(new))
        assert (0, said.stdout) == (done.returncode, done.stdout)
        after = node.pids()
        differ = {
            name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
        }
        assert {"w0", "w2", "new"} == differ
        assert 0 == sng(node, "diff", str(new)).returncode
        assert all(row["state"] == "running" for row in node.rows().values())


def test_a_wrong_file_is_refused_as_a_whole(short_dir: Path) -> None:
    """Exit 78 with every problem, and nothing has been touched."""
    with Node(short_dir, tree("a", "b")) as node:
        node.wait_up()
        before = node.pids()
        new = short_dir / "new.toml"
        new.write_text(tree("a", "c", "d comand = 1", root='strategy = "all"'))
        for verb in ("diff", "reload"):
            said = sng(node, verb, str(new))
            assert 78 == said.returncode
            assert "new.toml:3: supervisor.root.strategy: cannot be" in said.stderr
            assert "worker.d.comand: cannot be set: no such key" in said.stderr
        assert 78 == sng(node, "reload", str(short_dir / "none.toml")).returncode
        assert before == node.pids()
        assert {"root", "a", "b"} == set(node.rows())


def test_what_cannot_be_had_at_run_time_is_refused(short_dir: Path) -> None:
    """Nothing of such a file is done; the reasons are said."""
    group = '[supervisor.group]\nchildren = ["{}"]\n'
    text = tree("a", "b").replace('"a", "b"', '"a", "group"') + group.format("b")
    with Node(short_dir, text) as node:
        node.wait_up()
        before = node.pids()
        new = short_dir / "new.toml"
        moved = tree("a", "b").replace('"a", "b"', '"b", "group"') + group.format("a")
        new.write_text('[node]\nname = "other"\nlog_level = "debug"\n' + moved)
        assert 1 == sng(node, "diff", str(new)).returncode
        said = sng(node, "reload", str(new))
        assert 4 == said.returncode
        assert "node.name: cannot change from" in said.stderr
        assert "root/b: it cannot move from root/group/b" in said.stderr
        assert before == node.pids()


def test_a_group_restarts_with_its_changed_member(short_dir: Path) -> None:
    """And diff has said so, with the reason."""
    with Node(short_dir, tree("a", "b", root='strategy = "one_for_all"')) as node:
        node.wait_up()
        before = node.pids()
        node.tree.write_text(tree('a umask = "077"', "b", root='strategy = "one_for_all"'))
        comparison = node.ask("diff")
        assert {"a": "restart", "b": "restart"} == acts(comparison)
        assert ["root/a"] == comparison["changes"][1]["because"]
        node.signal(signal.SIGHUP)
        eventually(lambda: not set(before.values()) & set(node.pids().values()), "all are new")
        eventually(node.is_up, "the tree is up")
        assert 0 == node.row("root")["restarts_in_window"]


def test_the_file_of_an_environment_counts_as_environment(short_dir: Path) -> None:
    """A worker whose variables stand in a file is restarted when that has changed."""
    variables = short_dir / "variables"
    variables.write_text("A=1\n")
    with Node(short_dir, tree("a environment_file = 'variables'", "b")) as node:
        node.wait_up()
        before = node.pids()
        assert node.ask("diff")["same"]
        variables.write_text("A=2\n")
        assert {"a": "restart"} == acts(node.ask("reload"))
        assert before["b"] == node.pids()["b"]
        assert before["a"] != node.pids()["a"]


def test_what_cannot_be_started_is_told(short_dir: Path) -> None:
    """The rest of the file holds, and the next reload tries again when the file was corrected."""
    with Node(short_dir, tree("a")) as node:
        node.wait_up()
        node.tree.write_text(tree("a", "b directory = '/nowhere'", "c"))
        said = sng(node, "reload")
        assert 1 == said.returncode
        assert "cannot start root/b" in said.stderr
        assert "/nowhere" in said.stderr
        rows = node.rows()
        assert ("failed", "running") == (rows["b"]["state"], rows["c"]["state"])
        node.tree.write_text(tree("a", "b", "c"))
        assert {"b": "start"} == acts(node.ask("reload"))
        assert "running" == node.row("b")["state"]


def test_the_log_of_a_running_worker_moves(short_dir: Path) -> None:
    """Its size, its file and its directory change without a restart."""
    chatty = 'command = ["sh", "-c", "while :; do echo hello; sleep 0.05; done"]\n'
    text = f'[supervisor.root]\nchildren = ["a"]\n[worker.a]\n{chatty}'
    with Node(short_dir, text) as node:
        node.wait_up()
        before = node.pids()
        node.tree.write_text(text + 'log = { file = "moved.log" }\n')
        node.ask("reload")
        moved = node.state_dir / "log" / "moved.log"
        eventually(lambda: moved.exists() and moved.stat().st_size > 0, "the log has moved")
        assert before == node.pids()


def test_scale_holds_until_a_file_says_otherwise(short_dir: Path) -> None:
    """Those that stay keep their pids; the numbers survive a reload that says nothing new of them."""
    with Node(short_dir, tree("a instances = 2", "b")) as node:
        node.wait_up()
        before = node.pids()
        assert 0 == sng(node, "scale", "a=4").returncode
        after = node.pids()
        assert ["a@1", "a@2", "a@3", "a@4", "b"] == list(after)
        assert before.items() <= after.items()
        assert node.ask("diff")["same"]
        node.tree.write_text(tree("a instances = 2", "b", "c"))
        assert {"c": "add"} == acts(node.ask("reload"))
        node.tree.write_text(tree("a instances = 1", "b", "c"))
        node.ask("reload")
        assert ["a@1", "b", "c"] == list(node.pids())
        node.ask("scale", counts={"root/a": 0})
        assert ["b", "c"] == list(node.pids())
        node.ask("scale", counts={"a": 2})
        assert ["a@1", "a@2", "b", "c"] == list(node.pids())
        with pytest.raises(ControlError, match="no worker of this name has `instances`"):
            node.ask("scale", counts={"b": 2})


def test_scale_outlives_a_daemon_that_is_killed_or_upgraded(short_dir: Path) -> None:
    """All who run keep their pids; the numbers are still what operators said, until the file says another."""
    with Node(short_dir, tree("a instances = 2", "b instances = 2")) as node:
        node.wait_up()
        node.ask("scale", counts={"a": 4, "b": 1})
        before = node.pids()
        assert ["a@1", "a@2", "a@3", "a@4", "b@1"] == list(before)
        node.crash()
        node.start()
        node.wait_up()
        assert before == node.pids()
        assert 0 == sng(node, "upgrade").returncode
        assert before == node.pids()
        assert node.ask("diff")["same"]
        assert [("a", 2, 4), ("b", 2, 1)] == [
            (it["name"], it["file"], it["running"]) for it in node.ask("diff")["scaled"]
        ]
        node.crash()
        node.tree.write_text(tree("a instances = 3", "b instances = 2"))
        node.start()
        node.wait_up()
        assert ["a@1", "a@2", "a@3", "b@1"] == list(node.pids())
        assert {name: before[name] for name in node.pids()} == node.pids()


def test_the_service_manager_is_told(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELOADING=1 with its time, then READY=1, also when the file was refused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(short_dir / "notify"))
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(short_dir / "notify"))
        with Node(short_dir, tree("a")) as node:
            assert "READY=1" in manager.recv(4096).decode()
            node.wait_up()
            for text in (tree("a", "b"), "wrong"):
                node.tree.write_text(text)
                node.signal(signal.SIGHUP)
                assert manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert manager.recv(4096).startswith(b"READY=1\nSTATUS=")
            assert {"root", "a", "b"} == set(node.rows())
            assert 1 == sum(event["event"] == "reload" for event in node.events())
