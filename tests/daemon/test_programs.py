"""Real servers, unmodified, as workers: they start in order, die, hang, and end without leaving anything."""

from __future__ import annotations

import os
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.daemon.node import Node
from tests.daemon.services import (
    free_ports,
    gunicorn,
    haproxy,
    nginx,
    postgres,
    processes_of,
    redis,
)
from tests.support import eventually, is_alive

pytestmark = pytest.mark.process

WAIT_S = 60.0  # the machine may be busy with the whole suite


def page(port: int) -> str:
    """What a visitor sees."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return bytes(answer.read()).decode()
    except urllib.error.URLError as error:
        return str(error)


def pong(port: int) -> bool:
    """Whether redis answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(64) == b"+PONG\r\n"


def wait_replaced(node: Node, name: str, before: int) -> None:
    """Wait until this worker is ready as another process, and everybody else with it."""

    def replaced() -> bool:
        row = node.row(name)
        return row["pid"] != before and all(r["ready"] for r in node.rows().values())

    eventually(replaced, f"{name} is replaced and all are ready", WAIT_S)


def ended(node: Node) -> None:
    """An orderly stop: exit status 0, nobody left, and no stop that went wrong."""
    there = processes_of(node)
    node.signal(signal.SIGTERM)
    assert 0 == node.ends(WAIT_S), node.stderr.read_text()
    assert [] == [process for process in there if is_alive(process.pid)]
    assert "shutdown_error" not in node.stderr.read_text()


@pytest.mark.slow
def test_a_site_starts_in_order_heals_and_ends(short_dir: Path) -> None:
    """Database, cache, application and proxy, each after the one before; each is back after kill -9."""
    ports = dict(zip(("postgres", "redis", "gunicorn", "nginx"), free_ports(4), strict=True))
    tree = f"""
[supervisor.root]
strategy = "rest_for_one"
intensity = 100
children = ["postgres", "redis", "gunicorn", "nginx"]
{postgres(short_dir, ports["postgres"])}
{redis(short_dir, ports["redis"])}
{gunicorn(short_dir, ports["gunicorn"])}
{nginx(short_dir, ports["nginx"], ports["gunicorn"])}
"""
    with Node(short_dir, tree) as node:
        node.wait_up(WAIT_S)
        assert "hello from gunicorn" == page(ports["nginx"])
        assert pong(ports["redis"])
        ready = [event["path"] for event in node.events() if event["event"] == "ready"]
        assert [f"root/{name}" for name in ports] == ready
        for name in ports:
            before = node.pids()
            os.kill(before[name], signal.SIGKILL)
            wait_replaced(node, name, before[name])
            after = node.pids()
            order = list(ports)
            kept = order[: order.index(name)]
            assert [before[one] for one in kept] == [after[one] for one in kept]
        assert "hello from gunicorn" == page(ports["nginx"])
        assert set(ports) == {report["worker"] for report in node.crashes()}
        ended(node)
    log = (node.state_dir / "log" / "postgres.log").read_text()
    assert "database system is shut down" in log


def test_a_stopped_redis_is_found_by_its_own_client(short_dir: Path) -> None:
    """SIGSTOP: killed, replaced, and the report says what failed and in which state it was."""
    (port,) = free_ports(1)
    with Node(short_dir, redis(short_dir, port)) as node:
        before = node.wait_up(WAIT_S).pids()["redis"]
        assert "Ready to accept connections" == node.row("redis")["status_text"]
        os.kill(before, signal.SIGSTOP)
        report = eventually(node.crashes, "a report", WAIT_S)[0]
        assert ("root/redis", "liveness", "restart") == (
            report["path"],
            report["reason"],
            report["decision"],
        )
        assert "2 probes in a row failed: " in report["message"]
        assert report["message"].endswith("ping: no answer within 500ms")
        assert f"process {before}: stopped" in report["stacks"]
        wait_replaced(node, "redis", before)
        assert pong(port)
        ended(node)


def test_a_port_tells_nothing_of_a_stopped_program(short_dir: Path) -> None:
    """The kernel accepts for it; that is why redis is asked, and not only connected to."""
    (port,) = free_ports(1)
    before, _, _ = redis(short_dir, port).partition("[worker.redis.liveness]")
    only = f"liveness = {{ tcp = '127.0.0.1:{port}', interval = '20ms', failures = 1 }}"
    with Node(short_dir, before + only) as node:
        pid = node.wait_up(WAIT_S).pids()["redis"]
        os.kill(pid, signal.SIGSTOP)
        # A look is taken every 20 ms; when a hundred requests are answered, many were.
        for _ in range(100):
            assert pid == node.row("redis")["pid"]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        os.kill(pid, signal.SIGCONT)
        ended(node)


def test_a_stopped_nginx_is_found_by_a_page(short_dir: Path) -> None:
    """The master is well, the process that serves is not: the probe asks what a visitor would."""
    port, behind = free_ports(2)
    with Node(short_dir, nginx(short_dir, port, behind)) as node:
        main = node.wait_up(WAIT_S).pids()["nginx"]
        (serving,) = psutil.Process(main).children()
        serving.send_signal(signal.SIGSTOP)
        report = eventually(node.crashes, "a report", WAIT_S)[0]
        assert "liveness" == report["reason"]
        assert f"process {serving.pid}: stopped" in report["stacks"]
        wait_replaced(node, "nginx", main)
        assert not serving.is_running()
        ended(node)


def test_haproxy_reloads_hangs_and_ends(short_dir: Path) -> None:
    """Its master says READY=1, RELOADING=1 and MAINPID=; a stopped worker of it is found by a page."""
    port, behind = free_ports(2)
    with Node(short_dir, haproxy(short_dir, port, behind)) as node:
        main = node.wait_up(WAIT_S).pids()["haproxy"]
        (before,) = serving(main)
        node.ask("signal", paths=["haproxy"], signal=signal.SIGUSR2, main=True)
        eventually(lambda: before not in serving(main), "another one serves", WAIT_S)
        # "reloading" until READY=1; some versions say "Ready." then.
        eventually(lambda: node.row("haproxy")["status_text"] in (None, "Ready."), "done", WAIT_S)
        assert (main, []) == (node.pids()["haproxy"], node.crashes())
        (after,) = serving(main)
        after.send_signal(signal.SIGSTOP)
        report = eventually(node.crashes, "a report", WAIT_S)[0]
        assert "liveness" == report["reason"]
        assert f"process {after.pid}: stopped" in report["stacks"]
        wait_replaced(node, "haproxy", main)
        assert 0 == node.status()["rejected"]["notify"]
        ended(node)


def serving(main: int) -> list[psutil.Process]:
    """Those that the master of haproxy has forked."""
    return psutil.Process(main).children(recursive=True)
