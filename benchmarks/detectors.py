"""The two detectors under recorded jitter: how often they wrong a healthy worker, how soon they find a hang.

The recording (beats_under_load.txt) is of real workers with the SDK on a host with far more to do than it can:
the times between signs of life as the daemon heard them, in ms, one worker a line. `steady` workers beat at an
interval of 200 ms; the counter of `uneven` ones moves when a piece of work is done, which takes now little, now
long.

For each timeout: how many healthy silences of a thousand are called a hang, and how long a worker that stops
right after a beat goes unnoticed, on average over all beats. The fixed timeout is the peer.

Run: python -m benchmarks.detectors; with `--record SECONDS` the recording is made anew.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from supervisord_ng.core import accrual
from supervisord_ng.limits import MS
from supervisord_ng.model.spec import Heartbeat
from supervisord_ng.runtime.heartbeats import HeartbeatServer, Received
from supervisord_ng.wire.heartbeat import Beat

RECORDING = Path(__file__).with_name("beats_under_load.txt")
INTERVAL_MS = 200
TIMEOUTS_MS = (400, 600, 1000, 1500, 2500)
THRESHOLDS = (4.0, 8.0, 12.0)
WORKERS = 6  # of each kind
BUSY = 16

STEADY = """
from supervisord_ng import worker
with worker.attach() as w:
    while not w.stopping.wait(0.02):
        w.beat()
"""
UNEVEN = """
import random
from supervisord_ng import worker
with worker.attach() as w:
    while not w.stopping.wait(min(2.0, random.lognormvariate(-1.5, 0.8))):
        w.beat()
"""


class Listener:
    """Hears workers, and keeps the times at which their counters moved, in ms."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        self.heard: dict[str, list[float]] = {}
        self.server = HeartbeatServer(loop, path, self._note)
        self._loop = loop
        self._counters: dict[str, int | None] = {}

    def _note(self, messages: list[Received]) -> None:
        for path, _, message in messages:
            if isinstance(message, Beat) and self._counters.get(path, -1) != message.progress:
                self._counters[path] = message.progress
                self.heard.setdefault(path, []).append(self._loop.time() * 1000)

    def start(self, name: str, program: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        token = secrets.token_hex()
        self.server.register(token, name, 1, None, INTERVAL_MS)
        told = {"SNG_HEARTBEAT": self.server.endpoint, "SNG_TOKEN": token}
        return subprocess.Popen([sys.executable, "-c", program], env=os.environ | told)


def record(seconds: float) -> None:
    """Let workers beat on a host that is busy, and write down what is heard."""
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as directory:
        listener = Listener(loop, f"{directory}/h.sock")
        programs = {"steady": STEADY, "uneven": UNEVEN}
        processes = [
            listener.start(f"{kind}@{number}", program)
            for kind, program in programs.items()
            for number in range(WORKERS)
        ]
        busy = [sys.executable, "-c", "while True: pass"]
        processes += [subprocess.Popen(busy) for _ in range(BUSY)]
        loop.call_later(seconds, loop.stop)
        loop.run_forever()
        for process in processes:
            process.kill()
            process.wait()
        listener.server.close()
    loop.close()
    lines = []
    for path, times in sorted(listener.heard.items()):
        silences = (f"{later - sooner:.0f}" for sooner, later in pairwise(times))
        lines.append(f"{path.partition('@')[0]} {' '.join(silences)}\n")
    RECORDING.write_text("".join(lines))


def read(kind: str) -> list[list[int]]:
    """The silences of every worker of this kind, in nanoseconds."""
    lines = [line.split() for line in RECORDING.read_text().splitlines()]
    return [[int(text) * MS for text in words] for of, *words in lines if of == kind]


def judge(workers: list[list[int]], heartbeat: Heartbeat) -> tuple[float, float]:
    """Silences called a hang, of a thousand; and how long a hang goes unnoticed, in ms."""
    wronged, patiences = 0, []
    for silences in workers:
        now = 0
        arrivals = accrual.first(heartbeat, now)
        for silence in silences:
            patience = heartbeat.timeout_ns
            if heartbeat.detector == "phi":
                patience = accrual.patience_ns(arrivals, heartbeat, heartbeat.timeout_ns)
            patiences.append(patience / MS)
            wronged += silence >= patience
            now += silence
            arrivals = accrual.another(arrivals, heartbeat, heartbeat.timeout_ns, now)
    return 1000 * wronged / len(patiences), statistics.mean(patiences)


def main() -> None:
    """Print one table for each kind of worker."""
    if sys.argv[1:2] == ["--record"]:
        record(float(sys.argv[2]))
    for kind in ("steady", "uneven"):
        workers = read(kind)
        silences = sorted(silence // MS for worker in workers for silence in worker)
        middle, high = silences[len(silences) // 2], silences[len(silences) * 99 // 100]
        print(
            f"{kind}: {len(silences)} silences, median {middle}, p99 {high}, worst {silences[-1]} ms"
        )
        print(
            f"{'timeout':>9}  {'fixed':>20}" + "".join(f"  {f'phi {t:g}':>20}" for t in THRESHOLDS)
        )
        for timeout_ms in TIMEOUTS_MS:
            fixed = Heartbeat(INTERVAL_MS * MS, timeout_ms * MS)
            phis = [Heartbeat(INTERVAL_MS * MS, timeout_ms * MS, "phi", t) for t in THRESHOLDS]
            cells = [judge(workers, heartbeat) for heartbeat in (fixed, *phis)]
            row = "".join(f"  {wronged:8.2f} in {found:5.0f} ms" for wronged, found in cells)
            print(f"{timeout_ms:>6} ms{row}")


if __name__ == "__main__":
    main()
