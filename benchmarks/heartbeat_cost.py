"""What a beat costs the daemon: 1,000 workers with 10 beats/s each, against a bare ROUTER drain.

Workers are DEALERs in two processes, one for each worker, with beats spread evenly over time: no two
arrive together unless they gather. The floor is a ROUTER whose descriptor is polled and which is read
until it is empty, and nothing else. Ours is everything that the daemon does with a beat: socket, token
and credentials, the event, the step of the core over a tree of as many workers, the flight recorder; only
the processes of the workers are left out. CPU is that of the whole process, ZeroMQ's own thread included.
Both are measured in turns, under the same traffic; the lag of the loop is measured in a further turn of
its own, because measuring costs CPU too.

Run: python -m benchmarks.heartbeat_cost [WORKERS] [BEATS_PER_SECOND] [SECONDS]
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NamedTuple

import zmq

from supervisord_ng.core import machine
from supervisord_ng.core.effects import Effect, Spawn
from supervisord_ng.core.events import Event
from supervisord_ng.model.spec import (
    Heartbeat,
    LaunchSpec,
    LogSpec,
    NodeSpec,
    SupervisorSpec,
    WorkerSpec,
)
from supervisord_ng.runtime.births import Births
from supervisord_ng.runtime.incarnation import Record
from supervisord_ng.runtime.recorder import Recorder
from supervisord_ng.runtime.shell import Shell
from supervisord_ng.runtime.tokens import Tokens
from supervisord_ng.runtime.workers import Workers

SENDERS = 2
TURNS = 3
TIMEOUT_S = 5
PROBE_S = 0.005  # the loop is asked so often how late it is
WARM_UP_S = 1.0
TRIES = 15
SETTLED = 0.7  # of the beats that should come


class Load(NamedTuple):
    """How many workers beat, how often each, and for how long it is measured."""

    workers: int
    beats_per_s: float
    seconds: float


class Cost(NamedTuple):
    """What one turn took."""

    beats: int
    cpu_us_per_beat: float
    lag_ms: list[float]


# --- the workers ------------------------------------------------------------------------------------
def send(endpoint: str, tokens: list[bytes], interval_s: float, control: Connection) -> None:
    """Beat for some workers, one after the other, until told to end."""
    context = zmq.Context()
    dealers = []
    for _ in tokens:
        dealer: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.sndhwm = 10
        dealer.connect(endpoint)
        dealers.append(dealer)
    gap = interval_s / len(tokens)
    due = time.monotonic()
    for number in itertools.count(1):
        if control.poll():
            break
        for token, dealer in zip(tokens, dealers, strict=True):
            due += gap
            if (ahead := due - time.monotonic()) > 0:
                time.sleep(ahead)
            with contextlib.suppress(zmq.Again):
                dealer.send_multipart(
                    [b"SNG1", token, b"beat", b"%d" % number, b"%d" % number], zmq.NOBLOCK
                )
    context.destroy(linger=0)


# --- the floor --------------------------------------------------------------------------------------
def bare(directory: str, load: Load, control: Connection) -> None:
    """A ROUTER that is read until it is empty whenever its descriptor says so."""
    context = zmq.Context()
    router: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
    endpoint = f"ipc://{directory}/bare.sock"
    router.bind(endpoint)
    control.send((endpoint, [b"%032d" % number for number in range(load.workers)]))
    poller = zmq.Poller()
    poller.register(router.fileno(), zmq.POLLIN)
    poller.register(control.fileno(), zmq.POLLIN)
    count = 0
    meter = Meter(control, lambda: count)
    while meter.goes_on():
        with contextlib.suppress(zmq.Again):
            while True:
                router.recv_multipart(zmq.NOBLOCK)
                count += 1
        poller.poll()
    context.destroy(linger=0)


class Meter:
    """Answers every question on the control connection by the CPU time and the count so far."""

    def __init__(self, control: Connection, count: Callable[[], int]) -> None:
        self._control = control
        self._count = count
        self.lags: list[float] = []

    def goes_on(self) -> bool:
        """Answer what has been asked; False when it is time to end."""
        if not self._control.poll():
            return True
        try:
            if self._control.recv() == "end":
                return False
        except EOFError:  # whoever measures has ended
            return False
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._control.send((used.ru_utime + used.ru_stime, self._count(), self.lags))
        self.lags = []
        return True


# --- ours -------------------------------------------------------------------------------------------
class Pretended(Workers):
    """The daemon's hands, but for the processes."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, node: NodeSpec, feed: Callable[[Event], None]
    ) -> None:
        super().__init__(
            loop,
            node,
            feed,
            lambda _: None,
            lambda _: None,
            tokens=Tokens(node.state_dir),
            births=Births(node.runtime_dir),
        )
        self.tokens: list[bytes] = []

    def _start(self, record: Record) -> int:
        self._environment(record)
        assert record.token is not None
        self.tokens.append(record.token.encode())
        return 2**22 + len(self.tokens)  # above every pid of this host

    def _belongs(self, path: str, pid: int) -> bool:
        del path, pid
        return True


def tree(load: Load) -> SupervisorSpec:
    """One supervisor with all the workers."""
    heartbeat = Heartbeat(int(1e9 / load.beats_per_s), TIMEOUT_S * 10**9)
    log = LogSpec("/dev/null")
    launch = LaunchSpec(("true",), stdout="null", stderr="null")
    workers = (
        WorkerSpec(f"w{number}", launch, log, heartbeat=heartbeat) for number in range(load.workers)
    )
    return SupervisorSpec("root", children=tuple(workers))


def daemon(directory: str, load: Load, control: Connection, *, probing: bool) -> None:
    """Everything that the daemon has on the way of a beat."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        beats = 0
        all_started = asyncio.Event()

        def perform(effect: Effect) -> Event | None:
            answer = workers.spawn(effect) if isinstance(effect, Spawn) else None
            if len(workers.tokens) == load.workers:
                all_started.set()
            return answer

        def feed(event: Event) -> None:
            nonlocal beats
            beats += len(getattr(event, "beats", ()))
            shell.feed(event)

        def fail(error: BaseException) -> None:
            raise error

        node = NodeSpec("bench", directory, directory, directory, f"{directory}/key")

        def hear() -> None:
            workers.drain()

        shell = Shell(loop, perform, hear, fail, Recorder("bench"))
        workers = Pretended(loop, node, feed)
        shell.begin(*machine.boot(tree(load), seed=1, now=time.monotonic_ns()))
        shell.go()
        await all_started.wait()
        control.send((workers.heartbeats.endpoint, workers.tokens))
        meter = Meter(control, lambda: beats)
        done = asyncio.Event()
        loop.add_reader(control.fileno(), lambda: None if meter.goes_on() else done.set())
        probe = asyncio.ensure_future(_probe(meter)) if probing else None
        await done.wait()
        if probe is not None:
            probe.cancel()
        shell.close()
        workers.heartbeats.close()

    asyncio.run(run())


async def _probe(meter: Meter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + PROBE_S
        await asyncio.sleep(PROBE_S)
        meter.lags.append((loop.time() - due) * 1000)


# --- one turn ---------------------------------------------------------------------------------------
def turn(kind: str, load: Load) -> Cost:
    """Start a server and its workers, let them settle, measure, and end them."""
    spawn = multiprocessing.get_context("spawn")
    target: Callable[..., None] = bare if kind == "bare" else daemon
    keys = {} if kind == "bare" else {"probing": kind == "probed"}
    with tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as directory:
        ours, theirs = spawn.Pipe()
        server = spawn.Process(
            target=target, args=(directory, load, theirs), kwargs=keys, daemon=True
        )
        server.start()
        theirs.close()
        endpoint, tokens = ours.recv()
        senders = []
        for number in range(SENDERS):
            stop, stopped = spawn.Pipe()
            args = (endpoint, tokens[number::SENDERS], 1 / load.beats_per_s, stopped)
            senders.append((spawn.Process(target=send, args=args, daemon=True), stop))
            senders[-1][0].start()
        before = _settled(ours, load)
        time.sleep(load.seconds)
        ours.send("how")
        after = ours.recv()
        for process, stop in senders:
            stop.send("end")
            process.join()
        ours.send("end")
        server.join()
    beats = after[1] - before[1]
    return Cost(beats, (after[0] - before[0]) / beats * 1e6, after[2])


def _settled(server: Connection, load: Load) -> tuple[float, int, list[float]]:
    """Wait until the workers beat: the first figures to measure from."""
    for _ in range(TRIES):
        server.send("how")
        first = server.recv()
        time.sleep(WARM_UP_S)
        server.send("how")
        answer: tuple[float, int, list[float]] = server.recv()
        if answer[1] - first[1] > SETTLED * load.workers * load.beats_per_s * WARM_UP_S:
            return answer
    rate = (answer[1] - first[1]) / WARM_UP_S
    sys.exit(
        f"cannot measure: this machine is too busy for so many beats, {rate:.0f} come in a second"
    )


def main() -> None:
    """Print the costs, their ratio, and the lag."""
    given = [float(text) for text in sys.argv[1:]]
    workers, beats_per_s, seconds = [*given, *(1000.0, 10.0, 5.0)[len(given) :]]
    load = Load(int(workers), beats_per_s, seconds)
    print(f"{load.workers} workers, {load.beats_per_s:g} beats/s each, {os.cpu_count()} CPUs:")
    ratios = []
    for _ in range(TURNS):
        floor, ours = turn("bare", load), turn("ours", load)
        ratios.append(ours.cpu_us_per_beat / floor.cpu_us_per_beat)
        rates = f"{floor.beats / load.seconds:.0f} and {ours.beats / load.seconds:.0f} beats/s"
        print(
            f"  a bare drain {floor.cpu_us_per_beat:6.1f} us/beat   ours {ours.cpu_us_per_beat:6.1f}"
            f"   ratio {ratios[-1]:.2f}   ({rates})"
        )
    print(f"ratio, median of {TURNS}: {statistics.median(ratios):.2f}")
    lags = sorted(turn("probed", load).lag_ms)
    p50, p99 = lags[len(lags) // 2], lags[len(lags) * 99 // 100]
    print(f"lag of the loop: p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {lags[-1]:.1f} ms")


if __name__ == "__main__":
    main()
