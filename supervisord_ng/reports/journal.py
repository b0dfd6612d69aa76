"""The journal: what runs, in the store beside the reports, so that the next daemon can go on with it.

The daemon hands over its state whenever something has changed, and the writer's thread writes down the last one
that it was given: rows for the node, each supervisor and each child, of which only those that differ from what
is on the disk already. States are values that never change, so nobody waits for anybody, and a hundred restarts
while the disk is busy cost one write. The disk may be behind, but what it says was true at one moment,
and the crash reports up to that moment are in the same transaction.

What is remembered of a state is `core.memory`'s to say.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from typing import NamedTuple

import msgspec

import supervisord_ng
from supervisord_ng.core import memory
from supervisord_ng.core.memory import ChildMemory, Memory, NodeMemory, SupervisorMemory
from supervisord_ng.core.state import NodeState, SupervisorState
from supervisord_ng.errors import StoreError
from supervisord_ng.model.spec import LaunchSpec, WorkerSpec
from supervisord_ng.reports import database

_WRITE = """INSERT INTO journal (kind, path, body) VALUES (?, ?, ?)
    ON CONFLICT (kind, path) DO UPDATE SET body = excluded.body"""
_REMOVE = "DELETE FROM journal WHERE kind = ? AND path = ?"
_CLEAR = "DELETE FROM journal"
_ALL = "SELECT kind, path, body FROM journal"

Key = tuple[str, str]
"""What a row is about, "node", "supervisor" or "child", and its path."""


class Header(msgspec.Struct, frozen=True):
    """Of the row about the node. `boot` names the boot of the host: in another one nothing of it is true."""

    format: int
    package: str
    boot: str
    node: NodeMemory


class Line(msgspec.Struct, frozen=True):
    """Of a row about a child. `launch` stands for everything whose change needs a restart of a worker."""

    child: ChildMemory
    launch: str | None = None


class Recalled(NamedTuple):
    """What the journal of an earlier daemon says. `launches` by path, as of `fingerprint`."""

    boot: str
    package: str
    memory: Memory
    launches: dict[str, str]


class Journal:
    """What the open file says and what it is to say; belongs to the writer's thread.

    Args:
        boot: see `Header`.
    """

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._written: NodeState | None = None
        self._bodies: dict[Key, bytes] | None = None  # what is on the disk; None: not ours
        self._stopped: frozenset[str] | None = None
        self._launches: dict[str, tuple[LaunchSpec, str]] = {}  # by path, with what stands for each

    def forget(self) -> None:
        """The file is another one, or nobody knows what it holds: all is to be written again."""
        self._written = None
        self._bodies = None
        self._stopped = None

    def lacks(self, state: NodeState | None) -> bool:
        """Whether there is something to be written: what other nodes say at every moment is not."""
        written = self._written
        return state is not None and (written is None or not memory.is_same(state, written))

    def write(self, connection: sqlite3.Connection, state: NodeState) -> None:
        """Write what differs; part of a transaction, after whose failure `forget` has to follow."""
        changed, gone = self._changes(state)
        if self._bodies is None:
            connection.execute(_CLEAR)
        connection.executemany(_WRITE, [(*key, body) for key, body in changed.items()])
        connection.executemany(_REMOVE, gone)
        self._bodies = {} if self._bodies is None else self._bodies
        self._bodies |= changed
        for key in gone:
            del self._bodies[key]
            self._launches.pop(key[1], None)
        self._written = state

    def is_pressing(self, state: NodeState) -> bool:
        """Whether this has to survive a power failure at once: an operator was told that it is done."""
        stopped = frozenset(
            child.path
            for supervisor in state.supervisors.values()
            for child in supervisor.children.values()
            if child.by_operator
        )
        was, self._stopped = self._stopped, stopped
        return was != stopped

    def _changes(self, state: NodeState) -> tuple[dict[Key, bytes], list[Key]]:
        """The rows that differ from those on the disk, and those that have to go."""
        bodies = self._bodies or {}
        was = {} if self._written is None else self._written.supervisors
        changed = {("node", ""): self._header(state)}
        gone: list[Key] = []
        for path, supervisor in state.supervisors.items():
            before = was.get(path)
            if before is supervisor:
                continue
            changed["supervisor", path] = msgspec.json.encode(memory.of_supervisor(supervisor))
            changed |= self._children(supervisor, before)
            gone += _gone(supervisor, before)
        for path, before in was.items():
            if path not in state.supervisors:
                gone += [("supervisor", path), *_gone(None, before)]
        return {key: body for key, body in changed.items() if bodies.get(key) != body}, gone

    def _children(
        self, supervisor: SupervisorState, before: SupervisorState | None
    ) -> dict[Key, bytes]:
        known = {} if before is None else before.children
        lines = {}
        for name, child in supervisor.children.items():
            if known.get(name) is not child:
                launch = child.spec.launch if isinstance(child.spec, WorkerSpec) else None
                mark = None if launch is None else self._fingerprint(child.path, launch)
                line = Line(memory.of_child(child), mark)
                lines["child", child.path] = msgspec.json.encode(line)
        return lines

    def _header(self, state: NodeState) -> bytes:
        node = memory.of_node(state)
        package = supervisord_ng.__version__
        return msgspec.json.encode(Header(memory.FORMAT, package, self._boot, node))

    def _fingerprint(self, path: str, launch: LaunchSpec) -> str:
        known = self._launches.get(path)
        if known is None or known[0] is not launch:
            known = self._launches[path] = (launch, fingerprint(launch))
        return known[1]


def fingerprint(launch: LaunchSpec) -> str:
    """What stands for a launch on the disk: its environment may hold secrets."""
    return hashlib.sha256(msgspec.json.encode(launch, order="sorted")).hexdigest()[:32]


def read(path: str) -> Recalled | None:
    """What the store at `path` says of an earlier daemon; None when it says nothing.

    Raises:
        StoreError: it cannot be read, or was written by a version whose words we do not know.
    """
    try:
        with closing(database.connect_reader(path)) as connection:
            known = database.has_journal(connection)
            rows = connection.execute(_ALL).fetchall() if known else []
    except sqlite3.Error as error:
        raise StoreError(f"cannot read the journal: {error}: {path}") from error
    try:
        return _recalled(rows) if rows else None
    except msgspec.MsgspecError as error:
        raise StoreError(f"cannot read the journal: {error}: {path}") from error


def _recalled(rows: list[tuple[str, str, bytes]]) -> Recalled:
    of_kind: dict[str, dict[str, bytes]] = {"node": {}, "supervisor": {}, "child": {}}
    for kind, path, body in rows:
        of_kind[kind][path] = body
    body = of_kind["node"].get("", b"{}")
    version = msgspec.json.decode(body, type=_Format).format
    if version != memory.FORMAT:
        raise StoreError(
            f"cannot read the journal: it has format {version}, this version knows {memory.FORMAT}"
        )
    header = msgspec.json.decode(body, type=Header)
    supervisors = msgspec.json.Decoder(SupervisorMemory)
    lines = {path: msgspec.json.decode(line, type=Line) for path, line in of_kind["child"].items()}
    return Recalled(
        boot=header.boot,
        package=header.package,
        memory=Memory(
            node=header.node,
            supervisors={
                path: supervisors.decode(row) for path, row in of_kind["supervisor"].items()
            },
            children={path: line.child for path, line in lines.items()},
        ),
        launches={path: line.launch for path, line in lines.items() if line.launch is not None},
    )


class _Format(msgspec.Struct):
    """What every version writes."""

    format: int = 0


def _gone(supervisor: SupervisorState | None, before: SupervisorState | None) -> list[Key]:
    """The rows of children that are no more."""
    if before is None:
        return []
    still = supervisor.children if supervisor is not None else {}
    return [("child", child.path) for name, child in before.children.items() if name not in still]
