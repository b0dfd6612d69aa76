"""A whole daemon waits for readiness of every kind, and finds what no longer answers."""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.daemon.node import Node
from tests.daemon.services import free_ports, processes_of
from tests.support import eventually, is_alive

pytestmark = pytest.mark.process

# Listens after a while, says so, and serves pages until the file beside it is gone.
SERVER = """
import http.server, os, sys
port, file = int(sys.argv[1]), sys.argv[2]

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists(file) else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

server = http.server.HTTPServer(("127.0.0.1", port), Handler)
print(f"listening on port {port}", flush=True)
server.serve_forever()
"""


STOPPED_S = 0.5


def has_passed(end_s: float) -> bool:
    """Whether it is so late."""
    return os.times().elapsed > end_s


class Servers:
    """Workers that serve pages."""

    def __init__(self, directory: Path) -> None:
        self.program = directory / "server.py"
        self.program.write_text(SERVER)
        self.file = directory / "healthy"
        self.file.touch()

    def worker(self, name: str, port: int, *keys: str) -> str:
        """The table of one of them."""
        command = f'command = ["{sys.executable}", "{self.program}", "{port}", "{self.file}"]'
        return "\n".join([f"[worker.{name}]", command, *keys, ""])


def test_every_kind_of_readiness_is_waited_for_in_order(short_dir: Path) -> None:
    """Each begins when the one before is ready, however that shows."""
    servers = Servers(short_dir)
    tcp, http, log = free_ports(3)
    flag = short_dir / "flag"
    names = ["tcp", "http", "log", "fd", "check", "last"]
    check = f"test -e {flag} || {{ touch {flag}; exit 1; }}"
    tree = f"""
[supervisor.root]
children = {names}
{servers.worker("tcp", tcp, f'ready = {{ tcp = "localhost:{tcp}" }}')}
{servers.worker("http", http, f'ready = {{ http = "http://localhost:{http}/" }}')}
{servers.worker("log", log, 'ready = { log = "^listening on port [0-9]+$" }')}
[worker.fd]
command = ["sh", "-c", "echo >&3; exec sleep 1000"]
ready = {{ fd = 3 }}
[worker.check]
command = ["sleep", "1000"]
ready = {{ exec = ["sh", "-c", "{check}"] }}
[worker.last]
command = ["sleep", "1000"]
"""
    with Node(short_dir, tree) as node:
        node.wait_up()
        order = [
            (event["path"].removeprefix("root/"), event["event"])
            for event in node.events()
            if event["path"] != "root" and event["event"] in ("starting", "ready")
        ]
        expected = [(name, word) for name in names for word in ("starting", "ready")]
        assert expected[:-1] == order
        assert flag.exists()


def test_every_number_that_is_kept_free_can_be_had(short_dir: Path) -> None:
    """Also those that the daemon itself would have taken first; the worker has no others."""
    numbers = range(3, 10)
    workers = "".join(
        f"""
[worker.fd{number}]
command = ["sh", "-c", "ls /proc/self/fd >&2; echo ready >&{number}; exec sleep 1000"]
ready = {{ fd = {number} }}
"""
        for number in numbers
    )
    with Node(short_dir, workers) as node:
        node.wait_up()
        for number in numbers:
            log = node.state_dir / "log" / f"fd{number}.log"
            # Ready says the descriptor; what was written before it may be on its way to the log.
            text = eventually(log.read_text, f"what fd{number} has open")
            assert {"0", "1", "2", str(number)} <= set(text.split())
            assert len(text.split()) <= 5  # ls has one open itself


def test_who_is_not_ready_in_time_is_reported_with_what_was_missing(short_dir: Path) -> None:
    """The last look's own words, and the worker is gone."""
    (port,) = free_ports(1)
    tree = f"""
[supervisor.root]
children = ["a"]
start_failure = "retry"
intensity = 100
[worker.a]
command = ["sleep", "1000"]
ready = {{ tcp = "localhost:{port}" }}
ready_timeout = "500ms"
"""
    with Node(short_dir, tree) as node:
        report = eventually(node.wait_answering().crashes, "a report")[0]
        expected = ("start_failed:timeout", f"tcp localhost:{port}: connection refused")
        assert expected == (report["reason"], report["message"])
        assert not is_alive(report["pid"])


def test_a_page_that_says_no_is_a_crash(short_dir: Path) -> None:
    """The process is well and says itself that the service is not."""
    servers = Servers(short_dir)
    (port,) = free_ports(1)
    url = f"http://localhost:{port}/"
    liveness = f'liveness = {{ http = "{url}", interval = "50ms", failures = 2 }}'
    ready = f'ready = {{ http = "{url}" }}'
    with Node(short_dir, servers.worker("a", port, ready, liveness)) as node:
        before = node.wait_up().pids()["a"]
        servers.file.unlink()
        report = eventually(node.crashes, "a report")[0]
        expected = f"2 probes in a row failed: http {url}: HTTP status 503"
        assert ("liveness", expected) == (report["reason"], report["message"])
        servers.file.touch()
        eventually(lambda: node.row("a")["ready"], "it is back")
        assert before != node.pids()["a"]


def test_a_stop_ends_the_looks_as_well(short_dir: Path) -> None:
    """A check that hangs neither holds up the end of its worker nor outlives it."""
    tree = """
[worker.ready]
command = ["sleep", "1000"]
liveness = { exec = ["sleep", "2000"], interval = "10ms", timeout = "1h" }
[worker.starting]
command = ["sleep", "1000"]
ready = { exec = ["sh", "-c", "sleep 3000; true"] }
ready_timeout = "1h"
"""
    with Node(short_dir, tree) as node:
        node.wait_answering()
        eventually(lambda: len(processes_of(node)) == 6, "both checks are under way")
        there = processes_of(node)
        node.signal(signal.SIGTERM)
        assert 0 == node.ends()
        assert [] == [process for process in there if is_alive(process.pid)]


def test_a_daemon_that_was_stopped_blames_nobody(short_dir: Path) -> None:
    """SIGSTOP for longer than all looks together may take."""
    servers = Servers(short_dir)
    (port,) = free_ports(1)
    url = f"http://localhost:{port}/"
    liveness = (
        f'liveness = {{ http = "{url}", interval = "20ms", timeout = "100ms", failures = 1 }}'
    )
    with Node(
        short_dir, servers.worker("a", port, f'ready = {{ http = "{url}" }}', liveness)
    ) as node:
        pid = node.wait_up().pids()["a"]
        for _ in range(3):
            node.signal(signal.SIGSTOP)
            end_s = os.times().elapsed + STOPPED_S
            eventually(functools.partial(has_passed, end_s), "it stands still")
            node.signal(signal.SIGCONT)
            assert pid == node.row("a")["pid"]
        assert [] == node.crashes()
