"""What lies between two nodes in tests: network namespaces with a cable to pull, or a proxy that falls silent.

Root gets hosts of its own, joined by veth(4), cut by `ip link set down`. An ordinary user gets a proxy on the
loopback, which takes everything and passes nothing on while it is cut.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from tests.daemon.services import free_ports
from tests.needs import require_program

CHUNK = 64 * 1024
_numbers = itertools.count(1)


class Wire(ABC):
    """A way from a node below to the one above. `address` and `port` are where the one below connects."""

    address = "127.0.0.1"
    port = 0
    listen_address = "127.0.0.1"
    listen_port = 0
    above: str | None = None  # the network namespace of the one above; None: that of the test
    below: str | None = None

    @abstractmethod
    def cut(self) -> None:
        """From now on nothing gets through."""

    @abstractmethod
    def mend(self) -> None:
        """Everything gets through again."""


@contextmanager
def wire() -> Iterator[Wire]:
    """The best cable that this user can have."""
    if os.geteuid() == 0:
        with Cable() as cable:
            yield cable
    else:
        with Proxy() as proxy:
            yield proxy


class Cable(Wire):
    """Two hosts, network namespaces, and a pair of virtual Ethernet devices between them."""

    def __init__(self) -> None:
        require_program("ip")
        number = next(_numbers)
        mark = f"{secrets.token_hex(2)}{number}"
        self.above, self.below = f"sng-{mark}-a", f"sng-{mark}-b"
        self._device = f"sng{mark}"  # at most 15 characters, IFNAMSIZ
        self.address = self.listen_address = "10.77.0.1"
        self.port = self.listen_port = 7700

    def __enter__(self) -> Self:
        for host in (self.above, self.below):
            _ip("netns", "add", str(host))
            _ip("-n", str(host), "link", "set", "lo", "up")
        device, above, below = self._device, str(self.above), str(self.below)
        _ip("link", "add", device, "netns", above, "type", "veth", "peer", device, "netns", below)
        for host, address in ((above, "10.77.0.1/30"), (below, "10.77.0.2/30")):
            _ip("-n", host, "addr", "add", address, "dev", device)
            _ip("-n", host, "link", "set", device, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for host in (self.above, self.below):
            _ip("netns", "del", str(host))  # takes the devices along

    def cut(self) -> None:
        """Pull the cable out of the host below."""
        _ip("-n", str(self.below), "link", "set", self._device, "down")

    def mend(self) -> None:
        """Put it back."""
        _ip("-n", str(self.below), "link", "set", self._device, "up")


class Proxy(Wire):
    """Passes on what comes, byte for byte, unless it is cut; remembers what the first one below said."""

    def __init__(self) -> None:
        (self.listen_port,) = free_ports(1)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.said = bytearray()
        self._flows = threading.Event()
        self._flows.set()
        self._open: list[socket.socket] = [self._server]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._flows.set()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in self._open:
            one.close()

    def cut(self) -> None:
        """Take everything and pass nothing on."""
        self._flows.clear()

    def mend(self) -> None:
        """Pass on what has been taken, and what comes."""
        self._flows.set()

    def _start(self, target: object, *args: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        said = self.said
        while True:
            try:
                below, _ = self._server.accept()
            except OSError:
                return
            self._open.append(below)
            self._flows.wait()
            try:
                above = socket.create_connection(("127.0.0.1", self.listen_port))
            except OSError:
                below.close()
                continue
            self._open.append(above)
            self._start(self._pump, below, above, said)
            self._start(self._pump, above, below, bytearray())
            said = bytearray()

    def _pump(self, source: socket.socket, sink: socket.socket, said: bytearray) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self._flows.wait()
                said += data
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, f"ip {' '.join(words)}: {done.stderr}"
