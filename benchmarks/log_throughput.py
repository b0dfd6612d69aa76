"""How fast output goes into the log, against the same program into ``cat > file`` and against supervisord.

A worker writes lines of 100 bytes, through a buffer and line by line. The clock runs from its first line, which
it tells in a file, to the moment at which all of it is in the log. While our daemon captures, it is asked for
its version again and again, in a further run of its own because asking costs CPU too: how long that takes, over
the time at rest, is how late its loop is. CPU is what the capturing process used; it says more than the rate
where others use the machine too.
Run: python -m benchmarks.log_throughput [ROUNDS [MEGABYTES]]
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from supervisord_ng.control.client import Client
from tests.daemon.node import Node
from tests.support import eventually

LINE = 100
POLL_S = 0.0005
ASK_S = 0.01
WRITER = """
import os, sys, time
count, started, way = int(sys.argv[1]), sys.argv[2], sys.argv[3]
line = b"x" * 99 + b"\\n"
with open(started + ".new", "w") as file:
    file.write(str(time.monotonic()))
os.rename(started + ".new", started)
if way == "buffered":
    write = sys.stdout.buffer.write
    for _ in range(count):
        write(line)
    sys.stdout.flush()
else:
    write = os.write
    for _ in range(count):
        write(1, line)
"""


class Run(NamedTuple):
    """One measurement."""

    rate: float  # bytes a second
    cpu_s: float  # of who captures
    lags_s: list[float]  # of our loop


class Scene:
    """A directory, a program that writes, and how much.

    Args:
        directory: for everything.
        way: "buffered" or "unbuffered".
        count: of lines.
    """

    def __init__(self, directory: Path, way: str, count: int) -> None:
        self.directory = directory
        self.count = count
        self.way = way
        self.started = directory / "started"
        script = directory / "writer.py"
        script.write_text(WRITER)
        self.command = [sys.executable, str(script), str(count), str(self.started), way]

    def wait(
        self, log: Path, size_of: Callable[[int], bool], meanwhile: Callable[[], None]
    ) -> float:
        """Wait until everything is in `log`; return bytes a second of what the worker wrote."""
        deadline = time.monotonic() + 300
        while not (log.exists() and size_of(log.stat().st_size)):
            meanwhile()
            assert time.monotonic() < deadline, f"only {log.stat().st_size} bytes in {log}"
        return self.count * LINE / (time.monotonic() - float(self.started.read_text()))

    def is_whole(self, size: int) -> bool:
        """Whether a file of this size has all of it, as it came."""
        return size == self.count * LINE


def into_cat(scene: Scene) -> Run:
    """The floor: a pipe and cat(1)."""
    log = scene.directory / "cat.log"
    with log.open("wb") as file, subprocess.Popen(scene.command, stdout=subprocess.PIPE) as writer:
        cat = subprocess.Popen(["cat"], stdin=writer.stdout, stdout=file)
        assert writer.stdout is not None
        writer.stdout.close()
        rate = scene.wait(log, scene.is_whole, lambda: time.sleep(POLL_S))
        _, cat.returncode, used = os.wait4(cat.pid, 0)
    return Run(rate, used.ru_utime + used.ru_stime, [])


def cpu_s(pid: int) -> float:
    """What a process has used until now."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def captured(scene: Scene, log_format: str, *, asking: bool = False) -> Run:
    """Our daemon, as a whole; how late it is, if it is asked."""
    words = ", ".join(f'"{word}"' for word in scene.command)
    tree = (
        f"[worker.w]\ncommand = [{words}]\nautostart = false\nrestart = 'transient'\n"
        f'log = {{ max_bytes = 0, format = "{log_format}" }}\n'
    )
    with Node(scene.directory, tree) as node, Client(str(node.runtime_dir)) as client:
        node.wait_up()
        log = node.state_dir / "log" / "w.log"
        lags: list[float] = []

        def ask() -> None:
            begin = time.perf_counter()
            client.request("version", {})
            lags.append(time.perf_counter() - begin)
            time.sleep(ASK_S)

        for _ in range(50):
            ask()
        rest = statistics.median(lags)
        lags.clear()
        meanwhile = ask if asking else lambda: time.sleep(POLL_S)
        used = -cpu_s(node.pid)
        client.request("start", {"paths": ["w"]}, timeout_s=None)
        if log_format == "raw":
            rate = scene.wait(log, scene.is_whole, meanwhile)
            used += cpu_s(node.pid)
        else:
            one: list[int] = []  # bytes of one line, all are of one length

            def is_whole(size: int) -> bool:
                if not one and size:
                    with log.open("rb") as file:
                        one.append(len(file.readline()))
                return bool(one) and size >= scene.count * (one[0] - TIME_DIGITS)

            rate = scene.wait(log, is_whole, meanwhile)
            used += cpu_s(node.pid)
            eventually(lambda: node.row("w")["state"] == "exited", "the end of the writer", 60)
            lines = sum(block.count(b"\n") for block in _blocks(log))
            assert lines == scene.count, lines
        return Run(rate, used, [max(0.0, lag - rest) for lag in lags])


TIME_DIGITS = 9  # "time" may be shorter by its fraction; the last line is then missed by a hair


def _blocks(log: Path) -> Iterator[bytes]:
    with log.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def by_supervisord(scene: Scene) -> Run | None:
    """The peer; None where it is not installed."""
    program = Path(sys.executable).with_name("supervisord")
    if not program.exists():
        return None
    log, config = scene.directory / "peer.log", scene.directory / "supervisord.conf"
    config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
        f"pidfile={scene.directory}/peer.pid\n"
        f"[program:w]\ncommand={' '.join(scene.command)}\nautorestart=false\nstartsecs=0\n"
        f"stdout_logfile={log}\nstdout_logfile_maxbytes=0\n"
    )
    with subprocess.Popen(
        [program, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as daemon:
        try:
            rate = scene.wait(log, scene.is_whole, lambda: time.sleep(POLL_S))
            used = cpu_s(daemon.pid)
        finally:
            daemon.terminate()
    return Run(rate, used, [])


@contextmanager
def a_scene(way: str, count: int) -> Iterator[Scene]:
    """A new directory each time, so that nobody overwrites what another one has warmed."""
    directory = Path(tempfile.mkdtemp(prefix="sng-", dir="/tmp"))
    try:
        yield Scene(directory, way, count)
    finally:
        shutil.rmtree(directory)


def main() -> None:
    """Print, for each way to write, every rate, and the ratios to their floor and peer."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    for way, share in (("buffered", 1.0), ("unbuffered", 0.25)):
        count = int(megabytes * share * 1e6) // LINE
        runs: defaultdict[str, list[Run]] = defaultdict(list)
        for _ in range(rounds):
            for name, measure in (
                ("cat", into_cat),
                ("raw", lambda scene: captured(scene, "raw")),
                ("json", lambda scene: captured(scene, "json")),
                ("supervisord", by_supervisord),
                ("raw, asked", lambda scene: captured(scene, "raw", asking=True)),
                ("json, asked", lambda scene: captured(scene, "json", asking=True)),
            ):
                with a_scene(way, count) as scene:
                    run = measure(scene)
                    if run is not None:
                        runs[name].append(run)
        _print(way, count, runs)


def _print(way: str, count: int, runs: dict[str, list[Run]]) -> None:
    print(f"{way}, {count} lines of {LINE} bytes, median of {len(runs['cat'])}:")
    rates = {
        name: statistics.median(run.rate for run in some) for name, some in runs.items() if some
    }
    for name, rate in rates.items():
        lags = sorted(lag for run in runs[name] for lag in run.lags_s)
        text = f"   loop late by p99 {lags[len(lags) * 99 // 100] * 1000:.1f} ms" if lags else ""
        used = statistics.median(run.cpu_s for run in runs[name]) / (count * LINE / 1e8)
        print(f"  {name:12} {rate / 1e6:7.0f} MB/s   {used:.2f} s of CPU for 100 MB{text}")
    for mine, other in (("raw", "cat"), ("json", "supervisord")):
        if other in rates:
            pairs = zip(runs[mine], runs[other], strict=True)
            ratios = ", ".join(f"{ours.rate / theirs.rate:.2f}" for ours, theirs in pairs)
            print(f"  {mine} / {other}: {rates[mine] / rates[other]:.2f}   (by round: {ratios})")


if __name__ == "__main__":
    main()
