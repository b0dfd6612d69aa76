"""kill -9 of the daemon at random moments, and upgrades, while workers crash, write and beat.

ROUNDS=200 repeats it so often; a failure says how to repeat it.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from supervisord_ng.model import paths
from supervisord_ng.runtime import leftovers, procfs
from tests.daemon.node import REPOSITORY, Node
from tests.daemon.test_upgrade import sng
from tests.support import eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SEED = int(os.environ.get("SEED", str(random.randrange(10**6))))
CRASHERS, WRITERS, BEATERS = 6, 12, 2
PAUSE_MAX_S = 1.0

BEATS = """
import sys
sys.path.insert(0, sys.argv[1])
from supervisord_ng import worker
with worker.attach() as w:
    w.ready()
    while not w.stopping.wait(0.05):
        w.beat()
"""
CRASHES = "sleep {pause}; echo $$ >> {file}; exit 1"
WRITES = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done"


def tree(directory: Path) -> str:
    """Who crashes, who writes, who beats."""
    names = [f"{kind}{n}" for kind, count in COUNTS for n in range(count)]
    parts = [f'[supervisor.root]\nintensity = "infinity"\nchildren = {json.dumps(names)}\n']
    for number in range(CRASHERS):
        script = CRASHES.format(pause=0.3 + 0.07 * number, file=directory / f"crash{number}")
        parts.append(worker(f"crash{number}", ["sh", "-c", script]))
    parts += [worker(f"write{number}", ["sh", "-c", WRITES]) for number in range(WRITERS)]
    beats = [sys.executable, "-c", BEATS, str(REPOSITORY)]
    more = 'ready = "heartbeat"\nheartbeat = { interval = "200ms", timeout = "20s" }\n'
    parts += [worker(f"beat{number}", beats, more) for number in range(BEATERS)]
    return "".join(parts)


COUNTS = (("crash", CRASHERS), ("write", WRITERS), ("beat", BEATERS))


def worker(name: str, command: list[str], more: str = "") -> str:
    """One table."""
    return f"[worker.{name}]\ncommand = {json.dumps(command)}\n{more}"


def leaders(node: Node) -> Counter[str]:
    """How many main processes each worker has, by what processes say of themselves."""
    endpoint = f"ipc://{node.runtime_dir / paths.HEARTBEAT_SOCKET}"
    found: Counter[str] = Counter()
    for one in leftovers.find(endpoint):
        stat = procfs.stat_of(one.pid)
        if one.token and stat is not None and not stat.is_dead and stat.session == one.pid:
            found[one.path] += 1
    return found


def healthy(node: Node) -> dict[str, int]:
    """The pids of those who do not crash."""
    return {name: pid for name, pid in node.pids().items() if not name.startswith("crash")}


def check_logs(node: Node, *, killed: bool) -> None:
    """Every line of every writer is there, in order; twice only what was being written when the daemon died."""
    for number in range(WRITERS):
        text = (node.state_dir / "log" / f"write{number}.log").read_text()
        lines = list(dict.fromkeys(text.splitlines())) if killed else text.splitlines()
        assert [f"line {n}" for n in range(1, len(lines) + 1)] == lines, f"write{number}"


def check_reports(node: Node, directory: Path, known: list[dict[str, object]]) -> int:
    """No crash is reported twice; return how many were not reported.

    Of a worker that was being started when the daemon was killed nobody knows the pid.
    """
    missing = 0
    for number in range(CRASHERS):
        died = Counter((directory / f"crash{number}").read_text().split()[:-1])
        told = Counter(str(it["pid"]) for it in known if it["worker"] == f"crash{number}")
        nameless = told.pop("None", 0)
        assert not told - Counter((directory / f"crash{number}").read_text().split())
        missing += max(0, (died - told).total() - nameless)
    return missing


def pause(chance: random.Random) -> None:
    """Until a random moment."""
    until = time.monotonic() + chance.uniform(0, PAUSE_MAX_S)
    eventually(lambda: time.monotonic() >= until, "a random moment", PAUSE_MAX_S + 1)


def test_killed_again_and_again(short_dir: Path) -> None:
    """Everybody runs exactly once, the healthy keep their pids, no line and no report is lost."""
    sys.stdout.write(f"to repeat: SEED={SEED} ROUNDS={ROUNDS}\n")
    chance = random.Random(SEED)
    with Node(short_dir, tree(short_dir)) as node:
        before = healthy(node.wait_up(60))
        for _ in range(ROUNDS):
            pause(chance)
            node.crash()
            node.start()
            node.wait_up(60)
            assert before == healthy(node)
            eventually(lambda: len(node.pids()) == sum(n for _, n in COUNTS), "all run", 60)
            assert max(leaders(node).values()) == 1
        assert [] == [it for it in node.crashes() if not str(it["worker"]).startswith("crash")]
        eventually(lambda: check_reports(node, short_dir, node.crashes()) == 0, "reported", 60)
        node.ask("stop", paths=["all"])
        check_logs(node, killed=True)


def test_upgraded_again_and_again(short_dir: Path) -> None:
    """The same, and the daemon keeps its pid as well."""
    sys.stdout.write(f"to repeat: SEED={SEED} ROUNDS={ROUNDS}\n")
    chance = random.Random(SEED)
    with Node(short_dir, tree(short_dir)) as node:
        before, pid = healthy(node.wait_up(60)), node.pid
        for _ in range(ROUNDS):
            pause(chance)
            upgraded = sng(node, "upgrade")
            assert (0, "") == (upgraded.returncode, upgraded.stderr)
            assert pid == node.status()["pid"]
            assert before == healthy(node)
            assert max(leaders(node).values()) == 1
        eventually(lambda: check_reports(node, short_dir, node.crashes()) == 0, "reported", 60)
        known = node.crashes()
        assert {"exit:1"} == {str(it["reason"]) for it in known}
        node.ask("stop", paths=["all"])
        check_logs(node, killed=False)
