"""The daemon is killed, and the next one goes on: nobody runs twice, nobody who is healthy notices."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from supervisord_ng.core.memory import ChildMemory
from supervisord_ng.core.state import Phase
from supervisord_ng.model import paths
from supervisord_ng.reports import journal
from supervisord_ng.runtime.births import Births
from tests.daemon.node import REPOSITORY, Node
from tests.daemon.test_upgrade import sng
from tests.support import eventually, is_alive

pytestmark = pytest.mark.process

WITH_CHILD = ["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]
IGNORES_TERM = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]


def restarted(node: Node) -> Node:
    """The next daemon."""
    node.start()
    return node.wait_up()


def noted(node: Node, name: str) -> int:
    """The pid of a worker as soon as its start is noted; the journal may not have it yet."""

    def look() -> int:
        return next((it.pid for it in Births(str(node.runtime_dir)).after(name, 0)), 0)

    return eventually(lambda: node.runtime_dir.exists() and look(), f"the start of {name}")


def remembered(node: Node, path: str) -> ChildMemory:
    """What the journal says of a child."""
    recalled = journal.read(str(node.state_dir / paths.STORE))
    assert recalled is not None, "nothing yet"
    return recalled.memory.children[path]


def test_workers_run_on_and_keep_everything(short_dir: Path) -> None:
    """Pid, incarnation, uptime; the event says `adopted`, and so does `status`."""
    tree = """
[worker.a]
command = "sleep 1000"
[worker.b]
command = "sleep 1000"
"""
    with Node(short_dir, tree) as node:
        node.wait_up()
        node.ask("signal", signal=9, paths=["a"], main=False)
        eventually(lambda: node.row("a")["incarnation"] == 2, "a is restarted")
        eventually(node.crashes, "the journal has it")
        before = node.rows()
        node.crash()
        restarted(node)
        after = node.rows()
        for name in ("a", "b"):
            kept = ("pid", "incarnation", "state", "ready", "restarts", "last_exit")
            assert [before[name][key] for key in kept] == [after[name][key] for key in kept]
            assert after[name]["uptime_s"] >= before[name]["uptime_s"]
            assert after[name]["adopted"]
        assert before["root"]["restarts_in_window"] == after["root"]["restarts_in_window"] == 1
        adopted = [it["path"] for it in node.events() if it["event"] == "adopted"]
        assert ["root/a", "root/b"] == adopted


def test_the_end_of_an_adopted_worker_is_seen_and_it_is_restarted(short_dir: Path) -> None:
    """At once, by its descriptor; how it ended is only told to its parent, so the reason is `unknown`."""
    with Node(short_dir, '[worker.a]\ncommand = "sleep 1000"\n') as node:
        pid = node.wait_up().pids()["a"]
        node.crash()
        restarted(node)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: node.row("a")["pid"] not in (None, pid), "another one runs")
        (report,) = eventually(node.crashes, "it is reported")
        assert ("unknown", True, pid) == (report["reason"], report["adopted"], report["pid"])
        assert ("restart", 1) == (report["decision"], report["incarnation"])
        assert not node.row("a")["adopted"]


def test_who_died_meanwhile_is_reported_and_started(short_dir: Path) -> None:
    """By the strategy, counted, with the last lines of its log."""
    tree = """
[supervisor.root]
strategy = "rest_for_one"
children = ["a", "b"]
[worker.a]
command = ["sh", "-c", "echo last words; exec sleep 1000"]
[worker.b]
command = "sleep 1000"
"""
    with Node(short_dir, tree) as node:
        before = node.wait_up().pids()
        log = node.state_dir / "log" / "a.log"
        eventually(lambda: "last words" in log.read_text(), "it has written")
        node.crash()
        os.kill(before["a"], signal.SIGKILL)
        restarted(node)
        eventually(lambda: node.pids().keys() == before.keys(), "all run again")
        after = node.pids()
        assert not set(before.values()) & set(after.values())
        (report,) = eventually(node.crashes, "it is reported")
        assert ("root/a", "unknown", True) == (
            report["path"],
            report["reason"],
            report["adopted"],
        )
        assert "last words" in report["log_tail"]
        assert 1 == node.row("root")["restarts_in_window"]
        assert not is_alive(before["b"])


def test_the_rest_of_who_died_meanwhile_is_ended_first(short_dir: Path) -> None:
    """Its child holds the port."""
    listen = (
        "import os, socket, sys, time\n"
        "s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "s.set_inheritable(True)\n"
        "if os.fork() == 0: os.setsid()\n"
        "time.sleep(1000)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", listen, str(port)]
    tree = f'[worker.a]\ncommand = {command}\n[worker.b]\ncommand = "sleep 1000"\n'
    with Node(short_dir, tree) as node:
        first = node.wait_up().pids()["a"]
        node.crash()
        os.kill(first, signal.SIGKILL)
        restarted(node)

        def answers() -> bool:
            with socket.create_connection(("127.0.0.1", port), 1):
                return True

        eventually(answers, "the new one has the port", 60)
        assert 1 == len(eventually(node.crashes, "it is reported"))


def test_a_stop_of_an_adopted_worker_ends_all_of_it(short_dir: Path) -> None:
    """Its grandchild, that has left the session, has become a child of somebody else."""
    script = 'setsid sleep 1000 & echo "grandchild $!"; exec sleep 1000'
    command = json.dumps(["sh", "-c", script])
    with Node(short_dir, f"[worker.a]\ncommand = {command}\n") as node:
        node.wait_up()
        log = node.state_dir / "log" / "a.log"
        text = eventually(lambda: log.exists() and log.read_text(), "it has said who")
        grandchild = int(str(text).split()[1])
        node.crash()
        restarted(node)
        pid = node.row("a")["pid"]
        node.ask("stop", paths=["a"])
        assert "stopped" == node.row("a")["state"]
        assert not is_alive(pid)
        assert not is_alive(grandchild)


def test_an_operators_stop_outlives_the_daemon(short_dir: Path) -> None:
    """A crash of it; an orderly restart begins from the configuration."""
    tree = '[worker.a]\ncommand = "sleep 1000"\n[worker.b]\ncommand = "sleep 1000"\n'
    with Node(short_dir, tree) as node:
        node.wait_up()
        node.ask("stop", paths=["a"])
        node.crash()
        assert "stopped" == restarted(node).row("a")["state"]
        node.signal(signal.SIGTERM)
        assert 0 == node.ends()
        assert "running" == restarted(node).row("a")["state"]


def test_a_stop_under_way_is_brought_to_its_end(short_dir: Path) -> None:
    """It was asked by the daemon that died, and has its time."""
    tree = (
        f'[worker.a]\ncommand = {IGNORES_TERM}\nshutdown = "1s"\n[worker.b]\ncommand = "sleep 9"\n'
    )
    with Node(short_dir, tree) as node:
        node.wait_up()
        node.ask("stop", paths=["a"], wait=False)
        eventually(
            lambda: remembered(node, "root/a").phase is Phase.STOPPING,
            "the journal says that it is being stopped",
        )
        node.crash()
        restarted(node)
        eventually(lambda: node.row("a")["state"] == "stopped", "it is stopped")


def test_what_the_configuration_has_changed_is_restarted_and_what_it_lacks_ended(
    short_dir: Path,
) -> None:
    """After the adoption; who is as it was runs on."""
    tree = '[worker.{}]\ncommand = "sleep {}"\n'
    with Node(short_dir, tree.format("a", 1000) + tree.format("b", 1000)) as node:
        first = node.wait_up().pids()
        node.crash()
        node.tree.write_text(tree.format("a", 1000) + tree.format("c", 1000))
        restarted(node)
        assert first["a"] == node.pids()["a"]
        assert not is_alive(first["b"])
        node.crash()
        node.tree.write_text(tree.format("a", 999) + tree.format("c", 1000))
        third = node.pids
        restarted(node)
        eventually(lambda: third().get("a") not in (None, first["a"]), "a is restarted")
        assert [] == node.crashes()
        assert 0 == node.row("root")["restarts_in_window"]


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(short_dir: Path) -> None:
    """The journal names a process by its pid and its start time."""
    with Node(short_dir, '[worker.a]\ncommand = "sleep 1000"\n') as node:
        pid = node.wait_up().pids()["a"]
        eventually(lambda: remembered(node, "root/a").pid == pid, "the journal has it")
        node.crash()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_alive(pid), "it is gone")
        stranger = subprocess.Popen(["sleep", "1000"])
        try:
            store = str(node.state_dir / paths.STORE)
            edit = (
                "UPDATE journal SET body = replace(CAST(body AS TEXT), "
                f"'\"pid\":{pid}', '\"pid\":{stranger.pid}') WHERE path = 'root/a'"
            )
            code = (
                f"import sqlite3; c = sqlite3.connect({store!r}); c.execute({edit!r}); c.commit()"
            )
            subprocess.run([sys.executable, "-c", code], check=True)
            restarted(node)
            assert stranger.pid != node.row("a")["pid"]
            assert "unknown" == eventually(node.crashes, "it is reported")[0]["reason"]
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


def test_whoever_was_started_in_the_last_moment_is_missed(short_dir: Path) -> None:
    """The very first worker, before the writer of the journal had time to say what came of its start."""
    with Node(short_dir, f"[worker.a]\ncommand = {json.dumps(WITH_CHILD)}\n") as node:
        pid = noted(node, "a")
        node.crash()
        os.kill(pid, signal.SIGKILL)
        restarted(node)
        (report,) = eventually(node.crashes, "it is reported")
        assert ("unknown", 1, pid) == (report["reason"], report["incarnation"], report["pid"])


def test_a_start_that_was_under_way_is_missed_without_a_name(short_dir: Path) -> None:
    """It has been forked, and nobody has noted as what: that it ran is all that can be said."""
    started = short_dir / "started"
    command = ["sh", "-c", f"echo $$ > {started}; exec sleep 1000"]
    with Node(short_dir, f"[worker.a]\ncommand = {json.dumps(command)}\n") as node:
        pid = int(eventually(lambda: started.exists() and started.read_text(), "it runs"))
        node.crash()
        os.kill(pid, signal.SIGKILL)
        restarted(node)
        (report,) = eventually(node.crashes, "it is reported")
        assert ("unknown", 1) == (report["reason"], report["incarnation"])
        assert report["pid"] in (pid, None)


def test_whoever_was_started_in_the_last_moment_is_adopted(short_dir: Path) -> None:
    """Under the number that it was given, so that its beats are its own."""
    started = short_dir / "started"
    beats = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "from supervisord_ng import worker\n"
        "with worker.attach() as w:\n"
        "    w.ready()\n"
        "    while not w.stopping.wait(0.1):\n"
        "        w.beat()\n"
    )
    command = json.dumps([sys.executable, "-c", beats, str(started)])
    tree = f"""
[worker.a]
command = {command}
ready = "heartbeat"
environment = {{ PYTHONPATH = "{REPOSITORY}" }}
heartbeat = {{ interval = "100ms", timeout = "10s" }}
"""
    with Node(short_dir, tree) as node:
        pid = int(eventually(lambda: started.exists() and started.read_text(), "it runs"))
        node.crash()
        row = restarted(node).row("a")
        assert (pid, 1, True) == (row["pid"], row["incarnation"], row["ready"])
        assert [] == node.crashes()


def test_when_all_have_died_with_the_daemon_nobody_is_to_blame(short_dir: Path) -> None:
    """The container was killed, or the out-of-memory killer took the whole group: begin anew, uncounted."""
    names = [f"w{number}" for number in range(8)]  # more than the intensity allows
    tree = "".join(f'[worker.{name}]\ncommand = "sleep 1000"\n' for name in names)
    with Node(short_dir, tree) as node:
        pids = node.wait_up().pids()
        node.ask("stop", paths=["w7"])
        node.crash()
        for name, pid in pids.items():
            if name != "w7":
                os.kill(pid, signal.SIGKILL)
        restarted(node)
        rows = node.rows()
        assert {"running"} == {rows[name]["state"] for name in names[:-1]}
        assert "stopped" == rows["w7"]["state"]
        assert 0 == rows["root"]["restarts_in_window"]


def test_a_second_daemon_is_refused_and_disturbs_nothing(short_dir: Path) -> None:
    """Whoever holds the lock goes on."""
    with Node(short_dir, '[worker.a]\ncommand = "sleep 1000"\n') as node:
        pids = node.wait_up().pids()
        second = subprocess.run(
            [
                *(sys.executable, "-m", "supervisord_ng", "-c", str(node.tree)),
                *("--runtime-dir", str(node.runtime_dir), "--state-dir", str(node.state_dir)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert 1 == second.returncode
        assert f"another daemon holds it (pid {node.pid})" in second.stderr
        assert pids == node.pids()


def test_kill_ends_all_workers_with_the_daemon(short_dir: Path) -> None:
    """`on_daemon_crash = "kill"`: whole, whoever left the session; and the next daemon begins anew."""
    command = json.dumps(["sh", "-c", "setsid sleep 1000 & echo $!; exec sleep 1000"])
    tree = f'[node]\non_daemon_crash = "kill"\n[worker.a]\ncommand = {command}\n'
    with Node(short_dir, tree) as node:
        pid = node.wait_up().pids()["a"]
        log = node.state_dir / "log" / "a.log"
        text = eventually(lambda: log.exists() and log.read_text(), "it has said who")
        grandchild = int(str(text))
        node.crash()
        eventually(lambda: not is_alive(pid) and not is_alive(grandchild), "both are gone", 60)
        restarted(node)
        assert "running" == node.row("a")["state"]
        assert 0 == node.row("root")["restarts_in_window"]
        assert [] == node.crashes()


def test_the_guard_does_no_harm_to_an_upgrade(short_dir: Path) -> None:
    """Nobody was killed."""
    tree = '[node]\non_daemon_crash = "kill"\n[worker.a]\ncommand = "sleep 1000"\n'
    with Node(short_dir, tree) as node:
        pids = node.wait_up().pids()
        assert 0 == sng(node, "upgrade").returncode
        assert pids == node.pids()
