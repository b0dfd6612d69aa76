"""How a tree comes up, or does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.node import Node
from tests.daemon.test_restarts import stored_reports
from tests.support import eventually

pytestmark = pytest.mark.process


def test_wrong_file_starts_nothing(short_dir: Path) -> None:
    """Exit 78, every problem on standard error, nothing made."""
    tree = '[worker.a]\ncommand = "touch a"\nrestrat = "permanent"\n[worker.b]\nshutdown = "soon"\n'
    with Node(short_dir, tree) as node:
        assert 78 == node.ends()
    errors = node.stderr.read_text()
    assert "worker.a.restrat" in errors
    assert "did you mean" in errors
    assert "worker.b.shutdown" in errors
    assert "worker.b.command" in errors
    assert not node.runtime_dir.exists()


def test_missing_program_ends_the_boot_as_in_otp(short_dir: Path) -> None:
    """By default the tree does not come up: exit 70, what had started is stopped in reverse."""
    tree = """
[supervisor.root]
children = ["first", "second", "broken", "never"]
[worker.first]
command = "sleep 1000"
[worker.second]
command = "sleep 1000"
[worker.broken]
command = "/nonexistent/program --flag"
[worker.never]
command = "sleep 1000"
"""
    with Node(short_dir, tree) as node:
        assert 70 == node.ends()
    errors = node.stderr.read_text()
    stopped = [errors.index(f"root/{name}: stopped") for name in ("second", "first")]
    assert sorted(stopped) == stopped
    assert "root/never" not in errors
    (report,) = stored_reports(node)
    assert "start_failed:ENOENT" == report["reason"]
    assert "/nonexistent/program" in str(report["message"])
    assert ("start_error", "give_up") == (report["context"], report["decision"])


def test_retried_start_leaves_siblings_and_operators_alone(short_dir: Path) -> None:
    """start_failure = "retry": one_for_one siblings run, and the daemon answers, while it is retried."""
    program = short_dir / "late"
    tree = f"""
[supervisor.root]
start_failure = "retry"
intensity = "infinity"
children = ["broken", "sibling"]
[worker.broken]
command = "{program}"
backoff = {{ initial = "50ms", max = "50ms" }}
[worker.sibling]
command = "sleep 1000"
"""
    with Node(short_dir, tree) as node:
        node.wait_answering()
        eventually(lambda: node.rows()["sibling"]["state"] == "running", "the sibling runs", 20)
        eventually(lambda: node.row("broken")["incarnation"] > 2, "it is retried")
        assert node.row("broken")["state"] in ("backoff", "restarting")
        program.write_text("#!/bin/sh\nexec sleep 1000\n")
        program.chmod(0o755)
        eventually(lambda: node.row("broken")["state"] == "running", "the late program runs")


def test_unready_worker_holds_back_those_after_it(short_dir: Path) -> None:
    """Children start in order, the next when the one before is ready; a late one is a failed start."""
    tree = """
[supervisor.root]
children = ["slow", "after"]
[worker.slow]
command = "sleep 1000"
ready = "notify"
ready_timeout = "3s"
[worker.after]
command = "sleep 1000"
"""
    with Node(short_dir, tree) as node:
        node.wait_answering()
        eventually(lambda: node.rows()["slow"]["state"] == "starting", "it starts", 20)
        assert "waiting" == node.row("after")["state"]
        assert 70 == node.ends()
    (report,) = stored_reports(node)
    assert "start_failed:timeout" == report["reason"]


def test_operator_does_not_wait_for_a_slow_boot(short_dir: Path) -> None:
    """`stop` of the worker whose readiness the boot waits for is done at once, and the boot goes on."""
    tree = """
[supervisor.root]
children = ["slow", "after"]
[worker.slow]
command = "sleep 1000"
ready = "notify"
[worker.after]
command = "sleep 1000"
"""
    with Node(short_dir, tree) as node:
        node.wait_answering()
        eventually(lambda: node.rows()["slow"]["state"] == "starting", "it starts", 20)
        assert node.ask("stop", paths=["slow"])["results"][0]["ok"]
        eventually(lambda: node.row("after")["state"] == "running", "the boot goes on")
        assert "stopped" == node.row("slow")["state"]


def test_one_shot_step_finishes_before_the_next_starts(short_dir: Path) -> None:
    """ready = "exit": a migration runs to its end first, and stays `exited`."""
    mark = short_dir / "migrated"
    tree = f"""
[supervisor.root]
children = ["migrate", "server"]
[worker.migrate]
command = ["sh", "-c", "sleep 0.2; touch {mark}"]
ready = "exit"
restart = "transient"
[worker.server]
command = ["sh", "-c", "test -e {mark} && exec sleep 1000"]
"""
    with Node(short_dir, tree) as node:
        node.wait_up()
        assert ("exited", "exit:0") == (
            node.row("migrate")["state"],
            node.row("migrate")["last_exit"],
        )
        assert "running" == node.row("server")["state"]
        assert [] == node.crashes()


def test_second_daemon_is_refused(short_dir: Path) -> None:
    """Another daemon on the same directories ends with a clear word and disturbs nothing."""
    with Node(short_dir, '[worker.a]\ncommand = "sleep 1000"\n') as node:
        before = node.wait_up().pids()
        with Node(short_dir, '[worker.a]\ncommand = "sleep 1000"\n') as second:
            assert 1 == second.ends()
        assert f"another daemon holds it (pid {node.pid})" in node.stderr.read_text()
        assert before == node.pids()
