"""Children that are added and removed at run time, by an operator of a real daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from supervisord_ng.errors import ControlError
from tests.daemon.node import Node
from tests.daemon.test_reload import sng
from tests.support import eventually

pytestmark = pytest.mark.process

POOL = """
[supervisor.root]
children = ["jobs", "a"]
[supervisor.jobs]
strategy = "simple_one_for_one"
intensity = 100
children = ["job"]
[worker.job]
command = "sleep"
[worker.a]
command = "sleep 1000"
"""


def command_of(pid: int) -> list[str]:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def test_instances_of_a_template(short_dir: Path) -> None:
    """Each with arguments, a name and a log of its own; restarted as any other, gone when stopped."""
    with Node(short_dir, POOL) as node:
        node.wait_up()
        assert {"root", "jobs", "a"} == set(node.rows())
        assert 0 == sng(node, "start-child", "jobs", "--", "1001").returncode
        assert (
            0 == sng(node, "start-child", "root/jobs", "--name", "night", "--", "1002").returncode
        )
        assert 0 == sng(node, "start-child", "jobs", "--", "1003").returncode
        pids = node.pids()
        assert ["job@1", "night", "job@2", "a"] == list(pids)
        assert ["sleep", "1003"] == command_of(pids["job@2"])
        files = {log["name"]: log["file"] for log in node.ask("logs.files")["logs"]}
        assert str(node.state_dir / "log" / "job@2.log") == files["job@2"]

        os.kill(pids["night"], signal.SIGKILL)
        eventually(lambda: node.pids().get("night") not in (None, pids["night"]), "it is restarted")
        assert ["sleep", "1002"] == command_of(node.pids()["night"])

        assert 0 == sng(node, "restart", "night").returncode
        assert ["sleep", "1002"] == command_of(node.pids()["night"])

        refused = sng(node, "delete", "night")
        assert 1 == refused.returncode
        assert "an instance of a template is removed by its stop" in refused.stderr
        assert 0 == sng(node, "stop", "job@1").returncode
        assert ["night", "job@2", "a"] == list(node.pids())
        assert "job@1" not in node.rows()
        node.ask("start-child", supervisor="jobs", args=["1004"])
        assert 1 < node.row("job@1")["incarnation"]


def test_a_child_by_toml(short_dir: Path) -> None:
    """Started, restarted after a crash and by hand, stopped, started again, deleted."""
    with Node(short_dir, POOL) as node:
        node.wait_up()
        keys = 'command = ["sleep", "2000"]\nrestart = "transient"'
        assert 0 == sng(node, "start-child", "root", "--name", "x", "--toml", keys).returncode
        pid = node.pids()["x"]
        assert 1 == sng(node, "start-child", "root", "--name", "x", "--toml", keys).returncode
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: node.pids().get("x") not in (None, pid), "it is restarted")
        assert "it runs (stop it first)" in sng(node, "delete", "x").stderr
        node.ask("stop", paths=["x"])
        assert "stopped" == node.row("x")["state"]
        node.ask("start", paths=["x"])
        node.ask("stop", paths=["x"])
        assert 0 == sng(node, "delete", "x").returncode
        assert "x" not in node.rows()
        assert 1 == sng(node, "delete", "x").returncode
        once = 'command = ["sleep", "2000"]\nrestart = "temporary"'
        assert 0 == sng(node, "start-child", "root", "--name", "once", "--toml", once).returncode
        pid = node.pids()["once"]
        assert 0 == sng(node, "restart", "once").returncode
        assert node.pids()["once"] != pid


def test_what_is_refused(short_dir: Path) -> None:
    """With the reason, and nothing is left of it."""
    with Node(short_dir, POOL) as node:
        node.wait_up()
        for words, status, why in (
            (("nobody",), 1, "no such worker or supervisor: nobody"),
            (("a",), 1, "cannot start a child of root/a: it is no supervisor"),
            (("root",), 1, "it has no template"),
            (("jobs", "--toml", "command = 'x'"), 1, "are instances of its template"),
            (("jobs", "--name", "a"), 4, "root/a has this name"),
            (("jobs", "--name", "../a"), 1, "cannot call a child ../a"),
            (("root", "--name", "x", "--toml", "comand = 'x'"), 78, 'did you mean "command"?'),
            (("root", "--name", "x", "--toml", "command = '/no/such'"), 1, "/no/such"),
            (
                ("root", "--name", "x", "--toml", "command = 'x'\nlog.file = 'a.log'"),
                4,
                "another worker writes",
            ),
        ):
            said = sng(node, "start-child", *words)
            assert (status, True) == (said.returncode, why in said.stderr), (words, said)
        assert {"root", "jobs", "a"} == set(node.rows())


def test_a_request_is_done_once(short_dir: Path) -> None:
    """The same request again, after its connection was lost, is answered and not done again."""
    with Node(short_dir, POOL) as node:
        node.wait_up()
        args = {"supervisor": "jobs", "args": ["1001"]}
        request = json.dumps({"id": "the same", "verb": "start-child", "args": args})
        answers = []
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(60)
                client.connect(str(node.runtime_dir / "control.sock"))
                client.sendall(request.encode() + b"\n")
                answers.append(client.makefile().readline())
        assert answers[0] == answers[1]
        assert ["job@1", "a"] == list(node.pids())


def test_what_is_added_survives_a_reload_and_not_its_supervisor(short_dir: Path) -> None:
    """A reload changes the template under running instances; a restart of the supervisor forgets them."""
    with Node(short_dir, POOL) as node:
        node.wait_up()
        node.ask("start-child", supervisor="jobs", args=["1001"])
        node.ask("start-child", supervisor="root", name="x", toml='command = "sleep 1"')
        before = node.pids()
        node.tree.write_text(POOL.replace("intensity = 100", "intensity = 7"))
        assert ["root/jobs"] == [change["path"] for change in node.ask("reload")["changes"]]
        assert before == {**node.pids(), "x": before["x"]}
        node.tree.write_text(POOL.replace('"sleep"', '"sleep"\numask = "077"'))
        assert "restart" in {change["act"] for change in node.ask("reload")["changes"]}
        pid = node.pids()["job@1"]
        assert ["sleep", "1001"] == command_of(pid)
        assert before["job@1"] != pid
        node.ask("restart", paths=["root/jobs"])
        assert "job@1" not in node.rows()


def test_what_is_added_outlives_the_daemon(short_dir: Path) -> None:
    """The next one takes over instances and other children with the rest of the tree."""
    with Node(short_dir, POOL) as node:
        node.wait_up()
        node.ask("start-child", supervisor="jobs", args=["1001"])
        node.ask("start-child", supervisor="root", name="x", toml='command = "sleep 1000"')
        before = node.pids()
        node.signal(signal.SIGKILL)
        node.ends()
        node.start()
        node.wait_answering().wait_up()
        assert before == node.pids()
        assert node.ask("diff")["same"]


def test_a_name_of_the_file_can_be_refused(short_dir: Path) -> None:
    """A file that uses the name of a child added elsewhere is refused as a whole."""
    with Node(short_dir, POOL) as node:
        node.wait_up()
        node.ask("start-child", supervisor="jobs", name="b")
        text = POOL.replace('"a"]', '"a", "b"]') + '[worker.b]\ncommand = "sleep 1000"\n'
        node.tree.write_text(text)
        with pytest.raises(ControlError, match="which was added at run time, has this name"):
            node.ask("reload")
