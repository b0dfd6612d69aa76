"""Three levels on one host, leaf below mid below root, for tests: each a daemon with a tree of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.daemon.node import Node
from tests.daemon.services import free_ports
from tests.nodes.fleet import listening, make_key, parent, remote, wait_row

CRASHING = """
[worker.{name}]
command = ["sh", "-c", "while read -r code; do exit $code; done < {fifo}; exit 0"]
"""


class Three:
    """The nodes, and their names from the top down."""

    def __init__(self, root: Node, mid: Node, leaf: Node) -> None:
        self.root, self.mid, self.leaf = root, mid, leaf

    @property
    def all(self) -> tuple[Node, Node, Node]:
        """From the top down."""
        return self.root, self.mid, self.leaf


@contextmanager
def three(
    directory: Path, leaf_tree: str, *, more: str = "", mid_tree: str = "", leaf_parent: str = ""
) -> Iterator[Three]:
    """Three linked nodes; `leaf_tree` are the tables of the leaf's workers, `more` goes into every file."""
    ports = free_ports(2)
    keys = {name: make_key(directory / name).public for name in ("top", "mid", "leaf")}
    top = f"""
[node]
name = "top"
{listening(ports[0])}
[supervisor.root]
children = ["mid", "w"]
[worker.w]
command = "sleep 1000"
{remote("mid", keys["mid"])}
{more}
"""
    mid = f"""
[node]
name = "mid"
{listening(ports[1])}
{parent(ports[0], keys["top"])}
[supervisor.root]
children = ["leaf", "m"]
[worker.m]
command = "sleep 1000"
{remote("leaf", keys["leaf"])}
{mid_tree}
{more}
"""
    leaf = f"""
[node]
name = "leaf"
{parent(ports[1], keys["mid"], leaf_parent)}
{leaf_tree}
{more}
"""
    with (
        Node(directory / "top", top) as root_node,
        Node(directory / "mid", mid) as mid_node,
        Node(directory / "leaf", leaf) as leaf_node,
    ):
        yield Three(root_node, mid_node, leaf_node)


def wait_up(nodes: Three) -> None:
    """Wait until every link is up and every tree runs."""
    nodes.leaf.wait_up(60)
    wait_row(nodes.root, "mid", state="running")
    wait_row(nodes.mid, "leaf", state="running")
