"""Several daemons that are linked, each with a key and a tree of its own, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from supervisord_ng.errors import NoDaemonError
from supervisord_ng.wire import keys
from tests.daemon.node import Node
from tests.support import eventually

WAIT_S = 60.0
# Beats so frequent that a lost link is seen within a second or two, also on a slow machine.
HEARTBEAT = '{ interval = "100ms", timeout = "1500ms" }'


def make_key(directory: Path) -> keys.KeyPair:
    """The key of a node that has its files below this directory; made in advance."""
    (directory / "state").mkdir(parents=True, exist_ok=True)
    return keys.read_or_create(str(directory / "state" / "node.key"))[0]


def listening(port: int, address: str = "127.0.0.1") -> str:
    """What [node] has to say so that others can connect."""
    return f'listen = "tcp://{address}:{port}"\n'


def parent(port: int, key: str, more: str = "", address: str = "127.0.0.1") -> str:
    """The table of the node above."""
    return f"""
[parent]
endpoint = "tcp://{address}:{port}"
public_key = "{key}"
heartbeat = {HEARTBEAT}
{more}
"""


def remote(name: str, key: str, more: str = "") -> str:
    """The table of a node below."""
    return f"""
[remote.{name}]
public_key = "{key}"
heartbeat = {HEARTBEAT}
{more}
"""


def workers(names: str) -> str:
    """The tables of workers that sleep."""
    return "".join(f'[worker.{name}]\ncommand = "sleep 1000"\n' for name in names.split())


def wait_linked(child: Node) -> None:
    """Wait until the node says that its parent is there."""
    eventually(lambda: link_of(child) == "up", "the link is up", WAIT_S)


def link_of(child: Node) -> str | None:
    """How a node's link to its parent is, None before it answers."""
    try:
        above: dict[str, Any] | None = child.status()["parent"]
    except NoDaemonError:
        return None
    return None if above is None else str(above["link"])


def wait_row(node: Node, name: str, **expected: Any) -> dict[str, Any]:
    """Wait until the row of a child of `node` has all of these values; return it."""

    def look() -> dict[str, Any] | None:
        try:
            row = node.row(name)
        except NoDaemonError:  # it is on its way up
            return None
        return row if expected.items() <= row.items() else None

    found = eventually(look, f"{name} has {expected}", WAIT_S)
    assert found is not None
    return found
