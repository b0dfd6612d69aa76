"""Crash reports per second from one node to the node above, durable there, against SQLite alone.

The child begins with a full outbox, as after a partition: two daemons, CURVE, TCP on loopback.
Counted is what the parent has acknowledged, so every report is on two disks. The floor puts the same
reports into a store of one process that has nothing else to do.

Run: python -m benchmarks.report_throughput [REPORTS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from supervisord_ng import limits
from supervisord_ng.control.client import Client
from supervisord_ng.model.paths import STORE
from supervisord_ng.model.reports import CrashReport
from supervisord_ng.reports.build import IdSource
from supervisord_ng.reports.store import Store
from tests.daemon.node import Node
from tests.daemon.services import free_ports
from tests.nodes.fleet import listening, make_key, parent, remote
from tests.reports.samples import sample
from tests.support import eventually

KEEP = f"[reports]\nmax_count = {limits.REPORTS_COUNT_MAX}\n"
WAIT_S = 600.0


def reports(count: int) -> list[CrashReport]:
    """Reports as a crash loop makes them, with ten lines of the log and a traceback."""
    ids = IdSource()
    log = tuple(f"2026-01-01 12:00:{second:02} working on item {second}" for second in range(10))
    trace = 'Traceback (most recent call last):\n  File "job.py", line 4, in run\nValueError: no'
    return [
        sample(id=ids.next(time.time_ns() // 1_000_000), node="leaf", log_tail=log, traceback=trace)
        for _ in range(count)
    ]


def fill(path: Path, made: list[CrashReport]) -> float:
    """Put reports into a new store; return the seconds until all are durable."""
    store = Store.open(
        str(path),
        keep_ns=limits.REPORTS_KEEP_DEFAULT_NS,
        max_count=limits.REPORTS_COUNT_MAX,
        on_problem=print,
        on_stored=lambda _: None,
    )
    spent = 0.0
    for begin in range(0, len(made), limits.REPORTS_WAITING_MAX // 2):
        some = made[begin : begin + limits.REPORTS_WAITING_MAX // 2]
        start = time.perf_counter()
        for report in some:
            store.append(report)
        eventually(lambda: not store.counts.waiting, "stored", WAIT_S)
        spent += time.perf_counter() - start
    store.close(timeout_s=WAIT_S)
    return spent


def waiting(leaf: Node) -> int:
    """How many reports the node above has not acknowledged."""
    return int(leaf.status()["reports"]["waiting"])


def ask_until_done(top: Node, leaf: Node) -> list[float]:
    """Ask the leaf over the link again and again until the last report is up; the seconds of each answer."""
    asked = []
    with Client(str(top.runtime_dir), node="leaf") as client:
        while waiting(leaf):
            begin = time.perf_counter()
            client.request("version", {})
            asked.append(time.perf_counter() - begin)
    return asked


def main() -> None:
    """Print both rates and their ratio."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    made = reports(count)
    with tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as name:
        directory = Path(name)
        (port,) = free_ports(1)
        above, below = make_key(directory / "top"), make_key(directory / "leaf")
        floor_s = fill(directory / "floor.sqlite", made)
        fill(directory / "leaf" / "state" / STORE, made)
        top_tree = f"""
[node]
name = "top"
{listening(port)}
[supervisor.root]
children = ["leaf"]
{remote("leaf", below.public)}
{KEEP}
"""
        leaf_tree = f"""
[node]
name = "leaf"
{parent(port, above.public)}
[supervisor.root]
children = []
{KEEP}
"""
        with Node(directory / "leaf", leaf_tree) as leaf:
            leaf.wait_up(60)
            with Node(directory / "top", top_tree) as top:
                top.wait_answering()
                eventually(lambda: waiting(leaf) < count, "the first have arrived", WAIT_S)
                start, before = time.perf_counter(), waiting(leaf)
                asked = ask_until_done(top, leaf)
                spent_s = time.perf_counter() - start
                assert count == top.status()["reports"]["stored"]
                lost = sum(event["event"] == "link_down" for event in top.events())
    rate, floor = before / spent_s, count / floor_s
    print(f"{count} reports with log and traceback:")
    print(f"store alone {floor:.0f}/s   over the link, durable on both sides {rate:.0f}/s")
    print(
        f"a command over the same link meanwhile: median {statistics.median(asked) * 1000:.1f} ms,"
    )
    print(f"at most {max(asked) * 1000:.0f} ms of {len(asked)}; the link was lost {lost} times")
    print(f"ratio {rate / floor:.2f}   at least 10000/s: {'yes' if rate >= 10_000 else 'NO'}")


if __name__ == "__main__":
    main()
