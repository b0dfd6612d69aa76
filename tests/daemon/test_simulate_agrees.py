"""``sng simulate`` and the daemon come to the same decisions: the same tree, the same workers killed.

What the simulator assumes of workers must make no difference to what supervisors decide, so each story is
played twice, once by real processes that die by a real kill(2), once in virtual time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.canned import sng
from tests.daemon.node import REPOSITORY, Node
from tests.support import eventually

pytestmark = pytest.mark.process

DECISIONS = {"crashed", "restarting", "gave_up", "stopped", "started", "exited"}
KEYS = ("event", "path", "incarnation", "reason", "decision", "restarts_in_window", "with_siblings")

TREE = """
[supervisor.root]
strategy = "rest_for_one"
intensity = 3
period = "300s"
children = ["first", "pair", "single", "last"]

[supervisor.pair]
strategy = "one_for_all"
intensity = 1
period = "300s"
children = ["a", "b"]

[supervisor.single]
strategy = "one_for_one"
period = "300s"
children = ["c", "d", "e"]

[defaults.worker]
command = "sleep 1000"

[worker.first]
[worker.a]
[worker.b]
[worker.c]
backoff = { initial = "200ms", jitter = 0 }
[worker.d]
restart = "transient"
[worker.e]
restart = "temporary"
[worker.last]
"""

# A restart after a back-off, of a transient one, an end for good; a pair that gives up at its second crash, and
# again in its next life; the root gives up when it would have to restart for the fourth time.
KILLS = ["c", "c", "d", "e", "b", "a", "last", "a", "b", "first"]

BEATING = """
from supervisord_ng import worker

with worker.attach() as w:
    w.ready()
    while not w.stopping.wait(0.02):
        w.beat()
"""


QUICKSTART = REPOSITORY / "examples" / "quickstart" / "tree.toml"


def followed(node: Node, file: Path) -> contextlib.AbstractContextManager[None]:
    """Write the events of a daemon into a file until it ends."""

    @contextlib.contextmanager
    def follow() -> Iterator[None]:
        command = [
            *(sys.executable, "-m", "supervisord_ng.cli.main"),
            *("--runtime-dir", str(node.runtime_dir), "events", "-f", "--since", "0", "--json"),
        ]
        with (
            file.open("wb") as output,
            subprocess.Popen(command, cwd=REPOSITORY, stdout=output) as following,
        ):
            try:
                yield
                following.wait(20)
            finally:
                following.kill()

    return follow()


def simulated(tree: Path, *faults: str) -> list[tuple[Any, ...]]:
    """The decisions of the simulator."""
    said = sng("--runtime-dir", str(tree.parent / "run"), "simulate", str(tree), *faults, "--json")
    assert 0 == said.exit_code, said.output
    return decisions(json.loads(said.stdout)["events"])


def decisions(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What was decided, without times and pids; how a worker ends that obeys a stop is its own affair."""
    return [
        tuple(one.get(key) for key in KEYS if (key, one["event"]) != ("reason", "stopped"))
        for one in events
        if one.get("event") in DECISIONS
    ]


def strike(node: Node, name: str, number: signal.Signals) -> None:
    """Send a worker a signal when the tree is at rest, and wait until it is at rest again."""
    pid = node.pids()[name]
    seen = node.events()[-1]["seq"]
    os.kill(pid, number)

    def is_over() -> bool:
        if node.events()[-1]["seq"] == seen:
            return False
        rows = node.rows()
        at_rest = {row["state"] for row in rows.values()} <= {"running", "exited"}
        return at_rest and (name not in rows or rows[name]["pid"] != pid)

    eventually(is_over, f"{name} is dealt with", 20)


def test_the_same_kills_lead_to_the_same_decisions(short_dir: Path) -> None:
    """Strategies, restart types, back-off, give-ups up to the root: the same, in the same order."""
    file = short_dir / "events"
    with Node(short_dir, TREE) as node:
        node.wait_up()
        with followed(node, file):
            for name in KILLS[:-1]:
                strike(node, name, signal.SIGKILL)
            os.kill(node.pids()[KILLS[-1]], signal.SIGKILL)
            status = node.ends()
    real = decisions([json.loads(line) for line in file.read_text().splitlines()])

    kills = [f"--kill={name}@{10 * at}s" for at, name in enumerate(KILLS, 1)]
    imagined = simulated(node.tree, *kills)

    assert 70 == status
    assert [("root/pair", 2), ("root/pair", 2), ("root", 4)] == [
        (one[1], one[5]) for one in imagined if one[0] == "gave_up"
    ]
    assert imagined == real


def test_the_quickstart_tree_decides_as_simulated(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own file, with workers that only beat: one-shot, back-off, `site` gives up at its fourth crash."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    (short_dir / "documents.py").write_text("")
    for name in ("indexer", "catalogue", "web"):
        (short_dir / f"{name}.py").write_text(BEATING)
    kills = ["indexer@2", "web", "catalogue", "web", "catalogue", "indexer@3"]
    # On a slow machine more than ten seconds may lie between the first and the fourth.
    text = QUICKSTART.read_text(encoding="utf-8").replace('period = "10s"', 'period = "300s"')
    with Node(short_dir, text) as node:
        node.wait_up()
        for name in kills:
            strike(node, name, signal.SIGKILL)
        real = decisions(node.events())

    times = [f"--kill={name}@{10 * at}s" for at, name in enumerate(kills, 1)]
    imagined = simulated(node.tree, *times)

    assert ["root/site"] == [one[1] for one in imagined if one[0] == "gave_up"]
    assert imagined == real


def test_the_same_hang_leads_to_the_same_decisions(short_dir: Path) -> None:
    """A worker that is stopped in its tracks is found, killed and replaced, in the pretend world as well."""
    program = short_dir / "beating.py"
    program.write_text(BEATING)
    text = f"""
[supervisor.root]
strategy = "one_for_all"
children = ["other", "beats"]
[worker.other]
command = "sleep 1000"
[worker.beats]
command = ["{sys.executable}", "{program}"]
environment = {{ PYTHONPATH = "{REPOSITORY}" }}
ready = "heartbeat"
heartbeat = {{ interval = "100ms", timeout = "1s" }}
"""
    with Node(short_dir, text) as node:
        node.wait_up()
        strike(node, "beats", signal.SIGSTOP)
        real = decisions(node.events())

    imagined = simulated(node.tree, "--hang=beats@5s")

    assert ("crashed", "root/beats", 1, "heartbeat_timeout") in [one[:4] for one in imagined]
    assert imagined == real
