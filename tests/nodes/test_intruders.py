"""Whoever has no business on a link is refused, both sides say so, and nobody else is disturbed."""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec
import pytest
import zmq

from supervisord_ng import limits
from supervisord_ng.model.link import AnyFromParent, Hello, TreeNow, Welcome
from supervisord_ng.wire import keys
from supervisord_ng.wire.link import MAGIC, decode_from_parent, encode
from tests.daemon.node import Node
from tests.nodes.fleet import listening, make_key, parent, remote, wait_row, workers
from tests.nodes.wires import Proxy
from tests.support import eventually

pytestmark = pytest.mark.process

WAIT_S = 60.0
ANSWER_MS = 300  # then hello is said again
SECOND = 1_000_000_000
DOWN = TreeNow("down", None, None, 0)


class Fort:
    """A node "top" with a linked node "leaf", and a place "spare" for a second one that is not there."""

    def __init__(self, directory: Path) -> None:
        self.proxy = Proxy()
        self.port = self.proxy.listen_port
        self.key = make_key(directory / "top")
        self.spare = make_key(directory / "spare")
        self.leaf_key = make_key(directory / "leaf")
        tree = f"""
[node]
name = "top"
{listening(self.port)}
[supervisor.root]
children = ["leaf", "spare"]
{remote("leaf", self.leaf_key.public)}
{remote("spare", self.spare.public)}
"""
        self.top = Node(directory / "top", tree)
        self.leaf = Node(directory / "leaf", self.leaf_tree(self.proxy.port))
        self.directory = directory
        self._strangers = 0

    def leaf_tree(self, port: int, name: str = "leaf", parent_key: str = "") -> str:
        """The tree of a node below."""
        return f"""
[node]
name = "{name}"
{parent(port, parent_key or self.key.public)}
{workers("a")}
"""

    def stranger(self, tree: str, key: keys.KeyPair | None = None) -> Node:
        """A further node; with this key, or one that nobody knows."""
        self._strangers += 1
        directory = self.directory / f"stranger-{self._strangers}"
        state = directory / "state"
        state.mkdir(parents=True)
        if key is not None:
            file = state / "node.key"
            file.write_text(f"{key.secret}\n")
            file.chmod(0o600)
        return Node(directory, tree)

    def rejected(self) -> int:
        """What the top has counted and dropped."""
        count: int = self.top.status()["rejected"]["link"]
        return count

    def wait_rejected(self, more_than: int) -> None:
        """Wait until the top has counted more."""
        eventually(lambda: self.rejected() > more_than, "it is counted", WAIT_S)

    def wait_said(self, node: Node, *words: str) -> None:
        """Wait until one line of a node's log has all of these words."""

        def look() -> bool:
            lines = node.stderr.read_text().splitlines()
            return any(all(word in line for word in words) for line in lines)

        eventually(look, f"a line of {node.stderr} with {words}", WAIT_S)


@contextmanager
def fort(directory: Path) -> Iterator[Fort]:
    """A fort that must be as it was when the intruders are gone."""
    made = Fort(directory)
    with made.proxy, made.top as top, made.leaf as leaf:
        row = wait_row(top, "leaf", state="running")
        pids = leaf.pids()
        yield made
        assert "running" == top.row("leaf")["state"]
        assert row["incarnation"] == top.row("leaf")["incarnation"]
        assert pids == leaf.pids()
        lost = [event["path"] for event in top.events() if event["event"] == "link_down"]
        assert "root/leaf" not in lost


@pytest.fixture(scope="module")
def fortress() -> Iterator[Fort]:
    """One fort for many attempts."""
    with tempfile.TemporaryDirectory(prefix="sng-", dir="/tmp") as name, fort(Path(name)) as made:
        yield made


class Peer:
    """One who has the key of "spare" and says what a node would never say."""

    def __init__(self, place: Fort, key: keys.KeyPair | None = None) -> None:
        key = key or place.spare
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = self.socket.sndtimeo = int(WAIT_S * 1_000)
        self.socket.curve_publickey = key.public.encode()
        self.socket.curve_secretkey = key.secret.encode()
        self.socket.curve_serverkey = place.key.public.encode()
        self.socket.connect(f"tcp://127.0.0.1:{place.port}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def say(self, *parts: bytes) -> None:
        """Send a message."""
        self.socket.send_multipart(parts)

    def say_hello(self) -> Hello:
        """Say hello until it is welcomed; return the last one."""
        last = hello()

        def is_welcomed() -> bool:
            nonlocal last
            last = msgspec.structs.replace(last, seq=last.seq + 1)
            self.say(encode(last))
            return bool(self.socket.poll(ANSWER_MS)) and isinstance(self._hear(), Welcome)

        eventually(is_welcomed, "it is welcomed", WAIT_S)
        return last

    def _hear(self) -> AnyFromParent:
        return decode_from_parent(self.socket.recv())


def hello() -> Hello:
    """What a node says first in its life."""
    return Hello("spare", secrets.token_hex(8), 1, DOWN, SECOND, 0)


def test_a_key_that_is_not_listed_is_refused(fortress: Fort) -> None:
    """Both logs name the key, and what to do with it."""
    with fortress.stranger(fortress.leaf_tree(fortress.port, "spare")) as stranger:
        fortress.wait_said(stranger, "refuses us", "not on its list")
        key = keys.read(str(stranger.state_dir / "node.key")).public
        fortress.wait_said(stranger, "refuses us", key)
        fortress.wait_said(fortress.top, "refused a connection from 127.0.0.1", "not listed", key)
        status = stranger.wait_answering().status()
        assert "down" == status["parent"]["link"]
        assert status["rejected"]["link"] > 0
    assert fortress.rejected() > 0


def test_a_parent_with_another_key_is_not_spoken_to(fortress: Fort) -> None:
    """The child finds out that it is not the parent it was told of; the parent, that it was not meant."""
    wrong = make_key(fortress.directory / "wrong").public
    tree = fortress.leaf_tree(fortress.port, "spare", wrong)
    with fortress.stranger(tree, fortress.spare) as stranger:
        fortress.wait_said(stranger, "refuses us", "parent.public_key is not its key")
        fortress.wait_said(fortress.top, "refused a connection from 127.0.0.1", "our public key")


def test_a_key_speaks_for_one_name_only(fortress: Fort) -> None:
    """A listed node that says another name is refused, and both logs have both names."""
    with fortress.stranger(fortress.leaf_tree(fortress.port), fortress.spare) as stranger:
        fortress.wait_said(stranger, "refuses us", "is that of node spare", "you are leaf")
        fortress.wait_said(fortress.top, "of spare", "it says that it is node leaf")


def test_a_second_node_with_the_same_key_is_refused(fortress: Fort) -> None:
    """A copy of a node, key and all, does not get in while the first one is there."""
    tree = fortress.leaf_tree(fortress.port)
    with fortress.stranger(tree, fortress.leaf_key) as copy:
        fortress.wait_said(copy, "refuses us", "connected already")
        fortress.wait_said(fortress.top, "of leaf", "in use by another connection")
        assert "down" == copy.wait_answering().status()["parent"]["link"]


def test_garbage_on_the_port_is_counted(fortress: Fort) -> None:
    """Plain TCP, what the leaf said once more, ZeroMQ without CURVE: closed, counted, said with the address."""
    recorded = bytes(fortress.proxy.said)
    assert recorded
    for words in (b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 100, bytes(1000), recorded):
        with socket.create_connection(("127.0.0.1", fortress.port)) as connection:
            # Who is gone before the daemon has looked has no address any more: be greeted and seen first.
            assert connection.recv(1)
            before = [fortress.rejected() for _ in range(2)][-1]
            connection.sendall(words)
        fortress.wait_rejected(before)
    before = fortress.rejected()
    with zmq.Context() as context, context.socket(zmq.DEALER) as plain:
        plain.linger = 0
        plain.connect(f"tcp://127.0.0.1:{fortress.port}")
        fortress.wait_rejected(before)
    fortress.wait_said(fortress.top, "refused a connection from 127.0.0.1", "is no node")


@pytest.mark.parametrize(
    "message",
    [
        [b""],
        [b"SNGL9" + msgspec.msgpack.encode(hello())],
        [MAGIC + b"\xc1\xff\x00"],
        [MAGIC + b"\x91" * 100_000],
        [MAGIC + msgspec.msgpack.encode({"type": "welcome"})],
        [MAGIC + msgspec.msgpack.encode({"type": "hello", "node": "spare", "boot": "b\n"})],
        [encode(hello())[:-1]],
        [encode(hello()), b"more"],
        [encode(hello()), *[b"x"] * 1000],
        [encode(Hello("spare", "b", 1, DOWN, 1, 0))],  # it wants a beat every nanosecond
    ],
    ids=str.split("empty version noise depth type control cut parts many interval"),
)
def test_bad_frames_of_a_known_node_are_dropped(fortress: Fort, message: list[bytes]) -> None:
    """They are counted and said, with the node's name; the next good one is heard."""
    before = fortress.rejected()
    with Peer(fortress) as peer:
        peer.say(*message)
        fortress.wait_rejected(before)
        last = peer.say_hello()
        before = fortress.rejected()
        peer.say(encode(last))  # with a number that was heard before
        fortress.wait_rejected(before)
    fortress.wait_said(fortress.top, "dropped a message of spare (127.0.0.1)")


def test_an_oversized_frame_ends_its_connection_only(fortress: Fort) -> None:
    """Nobody reads it: libzmq hangs up, and its sender may come again and behave."""
    with Peer(fortress) as peer:
        peer.say(bytes(limits.LINK_MESSAGE_MAX + 1))
        peer.say_hello()
