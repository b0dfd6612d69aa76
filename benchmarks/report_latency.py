"""From kill -9 of a worker on the leaf to its report on the node two levels up; against the leaf's own list.

Three daemons on one host, CURVE, TCP on loopback; each stores the report durably before it goes on.
Seen is what `crashes.list` answers, which is what `sng crashes --json` prints.
Run: python -m benchmarks.report_latency [KILLS]
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from supervisord_ng.control.client import Client
from tests.daemon.node import Node
from tests.nodes.three import three, wait_up
from tests.support import eventually

TREE = """
[supervisor.root]
children = ["a"]
intensity = "infinity"
[worker.a]
command = "sleep 1000"
"""


def newest(client: Client) -> str | None:
    """The id of the newest report that a node has."""
    reports = client.request("crashes.list", {"limit": 1})["reports"]
    return None if not reports else str(reports[0]["id"])


def seen_after(node: Node, leaf: Node) -> float:
    """Kill the leaf's worker; return the seconds until `node` lists a report that it did not list before."""
    pid = leaf.row("a")["pid"]
    with Client(str(node.runtime_dir)) as client:
        before = newest(client)
        begin = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while newest(client) == before:
            pass
        spent = time.perf_counter() - begin
    eventually(lambda: leaf.row("a")["pid"] not in (pid, None), "it was replaced")
    eventually(lambda: not leaf.status()["reports"]["waiting"], "all is acknowledged")
    return spent


def main() -> None:
    """Print both medians and their ratio."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    with (
        tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as name,
        three(Path(name), TREE) as nodes,
    ):
        wait_up(nodes)
        pairs = []
        for _ in range(kills):
            at_leaf = seen_after(nodes.leaf, nodes.leaf)
            eventually(
                lambda: newest_of(nodes.root) == newest_of(nodes.leaf), "it is at the top", 60
            )
            pairs.append((at_leaf, seen_after(nodes.root, nodes.leaf)))
    leaf_ms = statistics.median(pair[0] for pair in pairs) * 1000
    root_ms = statistics.median(pair[1] for pair in pairs) * 1000
    worst_ms = max(pair[1] for pair in pairs) * 1000
    print(f"kill -9 on the leaf to its report in the list, median of {kills}:")
    print(f"leaf {leaf_ms:.1f} ms   two levels up {root_ms:.1f} ms (at most {worst_ms:.0f})")
    print(f"ratio {root_ms / leaf_ms:.1f}   under 100 ms: {'yes' if root_ms < 100 else 'NO'}")


def newest_of(node: Node) -> str | None:
    """The same over a connection of its own."""
    with Client(str(node.runtime_dir)) as client:
        return newest(client)


if __name__ == "__main__":
    main()
