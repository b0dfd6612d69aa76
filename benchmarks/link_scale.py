"""What idle nodes below cost a parent: share of a core and memory of each, for 10, 100 and 500 of them.

The parent is a real daemon; the nodes below are pretended by one process with a real connection, key and
beats of its own for each, at the default interval of a second. The floor is a bare ROUTER with CURVE that
answers every message, with as many peers. Then one of 100 nodes storms, and it is seen whether the link of
any other goes down. Run it alone on the machine: python -m benchmarks.link_scale [COUNT ...]
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import zmq

from supervisord_ng.model.link import ChildBeat, Hello, ParentBeat, TreeNow, Welcome
from supervisord_ng.wire import keys
from supervisord_ng.wire.link import MAGIC, decode_from_parent, encode
from tests.daemon.node import Node
from tests.daemon.services import free_ports
from tests.nodes.fleet import listening, make_key
from tests.support import eventually

COUNTS = (10, 100, 500)
MEASURE_S = 20.0
SETTLE_S = 5.0
INTERVAL_S = 1.0
TURN_S = 0.01
SECOND = 1_000_000_000
STORM_S = 10.0
READY_S = 120.0


# --- the pretended nodes, in a process of their own ---------------------------------------------------
class Pretended:
    """One node below: says hello until it is welcomed, then beats."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], name: str, endpoint: str, parent_key: str
    ) -> None:
        public, secret = zmq.curve_keypair()
        self.name = name
        self.public = public.decode()
        self._boot = f"boot-of-{name}"
        self._peer: str | None = None
        self._generation = 0
        self._seq = 0
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.curve_publickey = public
        self._socket.curve_secretkey = secret
        self._socket.curve_serverkey = parent_key.encode()
        self._endpoint = endpoint

    def connect(self) -> None:
        """Connect, once the parent knows the key."""
        self._socket.connect(self._endpoint)

    def turn(self) -> None:
        """Take what has come, then say hello or beat."""
        while True:
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            if message == MAGIC:
                continue  # of the floor
            frame = decode_from_parent(message)
            if isinstance(frame, Welcome | ParentBeat):
                self._peer = frame.boot
                self._generation = frame.order.generation
        self.beat()

    def beat(self) -> None:
        """Say hello or beat."""
        self._seq += 1
        tree = TreeNow("up", f"{self._boot}.1", self._peer, self._generation)
        frame: Hello | ChildBeat
        if self._peer is None:
            frame = Hello(self.name, self._boot, self._seq, tree, SECOND, 0)
        else:
            frame = ChildBeat(self._boot, self._seq, self._peer, tree)
        try:
            self._socket.send(encode(frame), zmq.NOBLOCK)
        except zmq.Again:
            return


def pretend(count: int, endpoint: str, parent_key: str) -> None:
    """Be `count` nodes; print their keys, wait for a line, connect. At the next line the first one storms."""
    context = zmq.Context()
    nodes = [Pretended(context, f"n{i}", endpoint, parent_key) for i in range(count)]
    print(" ".join(node.public for node in nodes), flush=True)
    sys.stdin.readline()
    for node in nodes:
        node.connect()
    begin = time.monotonic()
    due = [begin + INTERVAL_S * i / count for i in range(count)]
    os.set_blocking(0, False)
    storm = False
    while True:
        now = time.monotonic()
        for i, node in enumerate(nodes):
            if due[i] <= now:
                node.turn()
                due[i] += INTERVAL_S
        if storm:
            for _ in range(100):
                nodes[0].beat()
        else:
            storm = bool(os.read(0, 100)) if _is_readable() else False
            time.sleep(TURN_S)


def _is_readable() -> bool:
    return bool(select.select([0], [], [], 0)[0])


# --- the measurement ------------------------------------------------------------------------------------
class Figures:
    """Share of a core, and resident bytes, of a process."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    def memory(self) -> int:
        """Resident bytes as of now."""
        return int(self._process.memory_info().rss)

    def cpu(self) -> float:
        """The share of a core over the next seconds."""
        before, begin = self._process.cpu_times(), time.monotonic()
        time.sleep(MEASURE_S)
        after, end = self._process.cpu_times(), time.monotonic()
        spent = after.user + after.system - before.user - before.system
        return spent / (end - begin)


def start_nodes(count: int, endpoint: str, key: str) -> tuple[subprocess.Popen[str], list[str]]:
    """The process of the pretended nodes, and their keys."""
    command = [sys.executable, "-m", "benchmarks.link_scale", "--nodes", str(count), endpoint, key]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()


def tell(process: subprocess.Popen[str]) -> None:
    """Let the pretended nodes go on."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def tree_of(port: int, public_keys: list[str]) -> str:
    """The parent's tree: a remote child for each node."""
    names = ", ".join(f'"n{i}"' for i in range(len(public_keys)))
    remotes = "".join(f'[remote.n{i}]\npublic_key = "{key}"\n' for i, key in enumerate(public_keys))
    return (
        f'[node]\nname = "top"\n{listening(port)}[supervisor.root]\nchildren = [{names}]\n{remotes}'
    )


def measure(count: int, storm: Callable[[Node], None] | None = None) -> tuple[float, float]:
    """Share of a core, and bytes for each node, of a daemon with `count` nodes below."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as name:
        directory = Path(name)
        key = make_key(directory)
        nodes, public_keys = start_nodes(count, f"tcp://127.0.0.1:{port}", key.public)
        try:
            with Node(directory, tree_of(port, public_keys)) as top:
                top.wait_up(READY_S)
                time.sleep(SETTLE_S)
                figures = Figures(top.pid)
                empty = figures.memory()
                tell(nodes)
                eventually(lambda: running(top) == count, f"{count} nodes run", READY_S)
                time.sleep(SETTLE_S)
                share = figures.cpu()
                each = (figures.memory() - empty) / count
                if storm is not None:
                    tell(nodes)
                    storm(top)
                return share, each
        finally:
            nodes.kill()
            nodes.communicate()


def running(top: Node) -> int:
    """How many of the remote children run."""
    return sum(row["state"] == "running" for row in top.status()["children"][1:])


def floor(count: int) -> None:
    """A bare ROUTER that answers each message with the one it got first."""
    _, port, path = sys.argv[2:5]
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.curve_server = 1
    router.curve_secretkey = keys.read(path).secret.encode()
    router.bind(f"tcp://127.0.0.1:{port}")
    print("listening", flush=True)
    del count
    while True:
        identity = (
            router.recv()
        )  # part by part: pyzmq's send_multipart() costs more than the sending
        router.recv()
        router.send(identity, zmq.SNDMORE)
        router.send(MAGIC)


def measure_floor(count: int) -> float:
    """Share of a core of the bare ROUTER with `count` peers."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as name:
        key = make_key(Path(name))
        path = f"{name}/state/node.key"
        command = [
            sys.executable,
            "-m",
            "benchmarks.link_scale",
            "--floor",
            str(count),
            str(port),
            path,
        ]
        bare = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert bare.stdout is not None
        bare.stdout.readline()
        nodes, _ = start_nodes(count, f"tcp://127.0.0.1:{port}", key.public)
        try:
            tell(nodes)
            time.sleep(2 * SETTLE_S)
            return Figures(bare.pid).cpu()
        finally:
            for process in (nodes, bare):
                process.kill()
                process.communicate()


def watch_storm(top: Node) -> None:
    """Print how the others fare while one node sends as much as it can."""
    seen = top.events()[-1]["seq"]
    share = Figures(top.pid).cpu()
    lost = [e["path"] for e in top.events() if e["seq"] > seen and e["event"] == "link_down"]
    print(f"a storm of beats from one node: {share:.0%} of a core; links lost: {len(lost)} {lost}")


def main() -> None:
    """Print a line for each number of nodes."""
    counts = [int(word) for word in sys.argv[1:]] or list(COUNTS)
    print("nodes  share of a core  floor  ratio  memory each")
    for count in counts:
        bare = measure_floor(count)
        share, each = measure(count, watch_storm if count == 100 else None)
        ratio = share / bare if bare else float("inf")
        print(
            f"{count:5}  {share:15.2%}  {bare:5.2%}  {ratio:5.1f}  {each / 1024:8.0f} KB",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--nodes"]:
        pretend(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    elif sys.argv[1:2] == ["--floor"]:
        floor(int(sys.argv[2]))
    else:
        main()
