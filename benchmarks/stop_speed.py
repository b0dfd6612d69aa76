"""From SIGTERM to the end of a daemon with many workers, of which one is deaf until its `shutdown` is over.

The floor is that `shutdown` alone. With and without cgroups; stop_order "reverse" is OTP's,
one after another. Run: python -m benchmarks.stop_speed [WORKERS]
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.daemon.node import Node

SLEEP = shutil.which("sleep") or "/bin/sleep"
SHUTDOWN_S = 1.0
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"


def stop(workers: int, order: str, cgroups: str) -> float:
    """Start and stop; return the seconds that the stop took."""
    tree = (
        f'[supervisor.root]\nstop_order = "{order}"\nchildren = ["w", "deaf"]\n'
        f'[worker.w]\ncommand = "{SLEEP} 1000"\ninstances = {workers - 1}\n'
        f'[worker.deaf]\ncommand = ["{sys.executable}", "-c", "{DEAF}"]\n'
        f'shutdown = {SHUTDOWN_S}\nready = {{ log = "^up" }}\n'
    )
    os.environ["SNG_CGROUPS"] = cgroups
    with (
        tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as directory,
        Node(Path(directory), tree) as node,
    ):
        node.wait_up(120)
        begin = time.perf_counter()
        node.signal(signal.SIGTERM)
        status = node.ends(120)
        spent = time.perf_counter() - begin
        assert status == 0, status
        return spent


def main() -> None:
    """Print one line for each way."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print(f"{workers} workers, the longest shutdown takes {SHUTDOWN_S} s; SIGTERM to the end:")
    for cgroups in ("on", "off"):
        for order in ("reverse", "parallel"):
            spent = stop(workers, order, cgroups)
            over = spent - SHUTDOWN_S
            print(f"cgroups {cgroups:3}  {order:8}  {spent:.2f} s   {over:.2f} s above the floor")


if __name__ == "__main__":
    main()
