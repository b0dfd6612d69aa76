"""`sng status` of 50 workers against `supervisorctl status` of 50, as whole processes, in turns.

Needs supervisord and supervisorctl beside this Python or on PATH (pip install supervisor).
Run: python -m benchmarks.status_speed [RUNS]
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.daemon.node import Node
from tests.support import eventually

WORKERS = 50


def find(program: str) -> str:
    """The path of a program beside our own Python, or on PATH."""
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        sys.exit(f"cannot compare: no program {program} (pip install supervisor)")
    return found


def supervisord_config(directory: Path) -> Path:
    """A configuration of supervisord with as many workers."""
    config = directory / "supervisord.conf"
    config.write_text(
        f"[unix_http_server]\nfile={directory}/s.sock\n"
        f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
        f"pidfile={directory}/s.pid\nchildlogdir={directory}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{directory}/s.sock\n"
        f"[program:w]\ncommand=sleep 1000\nnumprocs={WORKERS}\nprocess_name=w%(process_num)d\n"
        "stdout_logfile=NONE\nstderr_logfile=NONE\n"
    )
    return config


def seconds(command: list[str]) -> float:
    """How long a command takes; it has to list everyone as running."""
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    spent = time.perf_counter() - begin
    assert done.stdout.lower().count("running") >= WORKERS, done.stdout + done.stderr
    return spent


def main() -> None:
    """Print both medians and their ratio."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    tree = f'[worker.w]\ncommand = "sleep 1000"\ninstances = {WORKERS}\n'
    with tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as name:
        directory = Path(name)
        config = supervisord_config(directory)
        theirs = [find("supervisorctl"), "-c", str(config), "status"]
        peer = subprocess.Popen(
            [find("supervisord"), "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with Node(directory, tree) as node:
                node.wait_up()
                ours = [find("sng"), "--runtime-dir", str(node.runtime_dir), "status"]
                eventually(lambda: all_running(theirs), "supervisord has started all", 60)
                pairs = [(seconds(theirs), seconds(ours)) for _ in range(runs)]
        finally:
            peer.terminate()
            peer.wait()
    peer_ms = statistics.median(pair[0] for pair in pairs) * 1000
    own_ms = statistics.median(pair[1] for pair in pairs) * 1000
    print(f"status of {WORKERS} workers as a whole process, median of {runs}:")
    print(f"supervisorctl {peer_ms:.0f} ms   sng {own_ms:.0f} ms   ratio {own_ms / peer_ms:.2f}")


def all_running(command: list[str]) -> bool:
    """Whether supervisord has started everyone."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.count("RUNNING") == WORKERS


if __name__ == "__main__":
    main()
