"""The trees in configs/ run as they are, but for ports, keys and the place of an application."""

from __future__ import annotations

import contextlib
import re
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.daemon.node import Node
from tests.daemon.services import free_ports
from tests.needs import require_program
from tests.nodes.fleet import make_key, wait_linked, wait_row
from tests.support import eventually

CONFIGS = Path(__file__).parent.parent.parent / "configs"
UP_TIMEOUT_S = 60.0

PAGES = """
import os, socket

def application(environ, start_response):
    with socket.create_connection(("127.0.0.1", {port})) as queue:
        queue.sendall(b"LPUSH jobs one\\r\\n")
        answer = queue.recv(100)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer]
"""
JOBS = """
import os, socket

host, port = os.environ["QUEUE"].split(":")
with socket.create_connection((host, int(port))) as queue:
    while True:
        queue.sendall(b"BRPOP jobs 0\\r\\n")
        print("did", queue.recv(100))
"""

pytestmark = pytest.mark.process


def text_of(name: str) -> str:
    """A tree with ports that are free here in place of its own."""
    text = (CONFIGS / name).read_text()
    ports = sorted(set(re.findall(r"\b(?:6400|7400|8000|8080)\b", text)))
    for port, free in zip(ports, free_ports(len(ports)), strict=True):
        text = text.replace(port, str(free))
    return text


def node_of(directory: Path, name: str, text: str) -> Node:
    """A daemon for a tree, in a directory of its own."""
    own = directory / name
    own.mkdir()
    return Node(own, text)


def test_the_plain_ones_come_up(short_dir: Path) -> None:
    """Those that need only a shell and Python: every worker runs, or has ended as it should."""
    names = "minimal one_for_one one_for_all rest_for_one simple_one_for_one migration container".split()
    with contextlib.ExitStack() as stack:
        nodes = {
            name: stack.enter_context(node_of(short_dir, str(number), text_of(f"{name}.toml")))
            for number, name in enumerate(names)
        }
        for name, node in nodes.items():
            rows = node.wait_up(UP_TIMEOUT_S).rows()
            states = {row["state"] for row in rows.values()}
            assert states <= {"running", "exited"}, f"{name}: {rows}"

        assert "exited" == nodes["migration"].row("migrate")["state"]
        assert "running" == nodes["migration"].row("application")["state"]
        instance = {"supervisor": "sessions", "name": "alice", "args": ["--user", "alice"]}
        nodes["simple_one_for_one"].ask("start-child", **instance)
        assert "running" == nodes["simple_one_for_one"].row("alice")["state"]


def test_the_web_application_serves_and_works(short_dir: Path) -> None:
    """A page puts a job into the queue, a worker does it."""
    require_program("redis-server")
    shop = short_dir / "shop"
    shop.mkdir()
    text = text_of("web-application.toml").replace("/srv/shop", str(shop))
    text = text.replace('"gunicorn shop', f'"{sys.executable} -m gunicorn shop')
    port = re.search(r"redis-server --port (\d+)", text)
    pages = re.search(r"http://[\d.:]+/", text)
    assert port is not None
    assert pages is not None
    (shop / "shop.py").write_text(PAGES.format(port=port[1]))
    (shop / "worker.py").write_text(JOBS)

    with node_of(short_dir, "node", text) as node:
        node.wait_up(UP_TIMEOUT_S)
        with urllib.request.urlopen(pages[0], timeout=UP_TIMEOUT_S) as page:
            assert page.read().startswith(b":")  # Redis: the length of the list

        logs = [node.state_dir / "log" / f"jobs@{number}.log" for number in (1, 2)]
        eventually(
            lambda: any(b"did" in log.read_bytes() for log in logs if log.exists()),
            "a job is done",
            UP_TIMEOUT_S,
        )


def test_the_two_hosts_find_each_other(short_dir: Path) -> None:
    """With their own keys, parent and child are one tree."""
    below, above = text_of("two-hosts-child.toml"), text_of("two-hosts-parent.toml")
    (port,) = free_ports(1)
    public = {name: make_key(short_dir / name).public for name in ("hub", "edge")}
    below = re.sub(r"(public_key = )\S+", rf'\g<1>"{public["hub"]}"', below)
    below = re.sub(r"tcp://hub.example:\d+", f"tcp://127.0.0.1:{port}", below)
    above = re.sub(r"(public_key = )\S+", rf'\g<1>"{public["edge"]}"', above)
    above = re.sub(r"tcp://0.0.0.0:\d+", f"tcp://127.0.0.1:{port}", above)

    with Node(short_dir / "hub", above) as hub, Node(short_dir / "edge", below) as edge:
        hub.wait_up(UP_TIMEOUT_S)
        edge.wait_up(UP_TIMEOUT_S)
        wait_linked(edge)

        wait_row(hub, "edge-1", state="running")
