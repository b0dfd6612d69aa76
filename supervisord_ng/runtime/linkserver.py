"""The parent's end of the links to the nodes below: one ROUTER over TCP, CURVE with an allow-list.

Who speaks is settled twice: the key of a connection stands for one name (`runtime.zap`), and a hello must say
that name. Each node has one connection; its boot, which only it knows, shows that another one is the same
daemon come back. A second daemon with a key in use is refused as long as the first one can be reached. What is
wrong is counted in `rejected`, dropped and said. What frames mean, and who is silent, is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import zmq

from supervisord_ng import limits
from supervisord_ng.errors import ProtocolError, SupervisordNGError
from supervisord_ng.model.link import (
    AnyFromChild,
    AnyFromParent,
    FromChild,
    Hello,
    Refused,
)
from supervisord_ng.runtime import borrowed
from supervisord_ng.runtime.linksocket import HANDSHAKE_FAILED, Drained, Monitor
from supervisord_ng.runtime.troubles import Troubles
from supervisord_ng.runtime.zap import DOMAIN, Gate
from supervisord_ng.wire.keys import KeyPair
from supervisord_ng.wire.link import MAGIC, decode_from_child, encode

_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | HANDSHAKE_FAILED
_NO_ADDRESS = "an unknown address"
_NOW = int(zmq.NOBLOCK)  # a sum of flags costs more than a message
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)

Received = tuple[str, AnyFromChild]
"""One frame, and the name of the node that it is from."""


class _NotItselfError(ProtocolError):
    """Somebody with a listed key is not who the key stands for."""


class _Peer:
    """The connection of one node."""

    __slots__ = ("boot", "identity", "seq")

    def __init__(self, identity: bytes, boot: str) -> None:
        self.identity = identity
        self.boot = boot
        self.seq = -1  # of the last frame


class LinkServer:
    """Where the nodes below connect.

    Args:
        loop: the loop that reads; every method must be called from it.
        endpoint: "tcp://ADDRESS:PORT".
        key: of this node.
        allowed: the name of each node below by its public key. May change, asked at every hello.
        on_frames: called once for each batch that held something valid.
        log: takes a line about what was refused.

    Raises:
        SupervisordNGError: nobody can connect there.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoint: str,
        key: KeyPair,
        allowed: Mapping[str, str],
        on_frames: Callable[[list[Received]], None],
        log: Callable[[str], None],
    ) -> None:
        self.rejected = 0
        self._allowed = allowed
        self._on_frames = on_frames
        self._troubles = Troubles(log)
        self._peers: dict[str, _Peer] = {}
        self._names: dict[bytes, str] = {}  # of nodes by the connection that they speak on
        self._received: list[Received] = []
        self._addresses: dict[int, str] = {}  # of connections by their descriptors
        self._speaking: set[int] = set()  # descriptors of those that have said something valid
        self._told = False  # of the connection that disconnects next: the gate has refused its key
        self._context = zmq.Context()
        self._gate = Gate(loop, self._context, allowed, self._key_refused)
        self._socket = _socket(self._context, key)
        # As it is in C: what pyzmq's Python adds, for other types of sockets, costs more than the sending.
        self._send_part = super(zmq.Socket, self._socket).send
        self._monitor = Monitor(loop, self._socket, _EVENTS, self._happened)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._monitor.close()
            self._gate.close()
            self._context.destroy(linger=0)
            raise SupervisordNGError(f"cannot listen on {endpoint}: {error}") from error
        self._drained = Drained(loop, self._socket, self._read, self._pass_on)

    def send(self, name: str, frame: AnyFromParent) -> bool:
        """Say something to a node below; it may get lost. False: it can not be reached just now."""
        peer = self._peers.get(name)
        return peer is not None and self._send(peer.identity, encode(frame)) == 0

    def drain(self) -> None:
        """Take in what has arrived; to be called before anybody is judged."""
        self._drained.drain(limits.LINK_DRAIN_MAX)

    def forget(self, name: str) -> None:
        """The link to this node is down: whoever has its key may come anew."""
        peer = self._peers.pop(name, None)
        if peer is not None:
            self._names.pop(peer.identity, None)
            self._count_peers()

    def close(self) -> None:
        """Stop listening. What was said last is still sent, for a moment. Safe to call twice."""
        if self._socket.closed:
            return
        self._drained.close()
        self._monitor.close()
        self._gate.close()
        self._context.destroy(linger=limits.LINK_LINGER_MS)

    # --- what arrives ----------------------------------------------------------------------------
    def _read(self) -> None:
        """Take one message. Raises zmq.Again when there is none."""
        identity = self._socket.recv(_NOW)
        part = self._socket.recv(_NOW, copy=False)
        message = b"" if part.more else part.bytes  # of several parts none is looked at
        rest = part
        while rest.more:
            rest = self._socket.recv(_NOW, copy=False)
        name = self._names.get(identity, "")
        try:
            frame = decode_from_child(message)
            if not name or type(frame) is Hello:
                name = self._name_of(str(part.get("User-Id")), identity)
            self._check_peer(name, identity, frame)
        except ProtocolError as error:
            name = name or self._allowed.get(str(part.get("User-Id")), "a node")
            address = _plain_address(str(part.get("Peer-Address")))
            kind = f"{name} {type(error).__name__}"
            self._reject(kind, f"dropped a message of {name} ({address}): {error}")
            return
        if identity not in self._names:
            self._names[identity] = name
            self._speaking.add(int(part.get(zmq.SRCFD)))
            self._count_peers()
        self._received.append((name, frame))

    def _count_peers(self) -> None:
        peers = len(self._peers)
        many = peers > limits.LINK_GATHER_PEERS
        self._drained.gather_ns = (
            min(peers * limits.LINK_GATHER_NS, limits.LINK_GATHER_MAX_NS) * many
        )

    def _pass_on(self) -> None:
        received, self._received = self._received, []
        if received:
            self._on_frames(received)

    def _check_peer(self, name: str, identity: bytes, frame: AnyFromChild) -> None:
        """See to it that one daemon speaks for the name, and says nothing twice.

        Raises:
            ProtocolError: it is another one than the one that speaks, or speaks of itself as another.
        """
        peer = self._peers.get(name)
        if type(frame) is Hello:
            if frame.node != name:
                why = f"this key is that of node {name} here, and you say that you are {frame.node}"
                self._refuse(identity, why)
                raise _NotItselfError(f"it says that it is node {frame.node}")
            if peer is None or peer.boot != frame.boot:
                if peer is not None and peer.identity != identity and self._reaches(peer):
                    self._refuse(identity, f"a node {name} with this key is connected already")
                    raise _NotItselfError("its key is in use by another connection")
                self.forget(name)
                peer = self._peers[name] = _Peer(identity, frame.boot)
        if peer is None or peer.boot != frame.boot:
            raise ProtocolError("it has not said hello")
        if isinstance(frame, FromChild):  # the others have numbers of their own
            if frame.seq <= peer.seq:
                raise ProtocolError(f"number {frame.seq} was heard before")
            peer.seq = frame.seq
        if peer.identity != identity:  # the same daemon, over another connection
            self._names.pop(peer.identity, None)
            peer.identity = identity

    def _name_of(self, key: str, identity: bytes) -> str:
        """Whose key it is.

        Raises:
            ProtocolError: nobody's any more.
        """
        name = self._allowed.get(key)
        if name is None:
            self._refuse(identity, "your key is not on the list any more")
            raise _NotItselfError(f"its key is not on the list any more: {key}")
        return name

    def _refuse(self, identity: bytes, why: str) -> None:
        self._send(identity, encode(Refused(why)))

    def _reaches(self, peer: _Peer) -> bool:
        """Whether its connection stands, as far as TCP knows. A message without a document says nothing."""
        return self._send(peer.identity, MAGIC) != zmq.EHOSTUNREACH

    def _send(self, identity: bytes, message: bytes) -> int:
        """Return 0, or why that cannot be said just now: EHOSTUNREACH or EAGAIN."""
        try:
            self._send_part(identity, _MORE)
            self._send_part(message, _NOW)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            return int(error.errno)
        finally:
            self._drained.look_again()
        return 0

    # --- connections that come to nothing --------------------------------------------------------
    def _happened(self, event: int, value: int) -> None:
        """A connection was made or ended. That its handshake failed is told just before its end."""
        if event == zmq.EVENT_ACCEPTED:
            self._addresses[value] = _address(value)
            self._speaking.discard(value)  # a descriptor that has been used before
        elif event == zmq.EVENT_DISCONNECTED:
            address = self._addresses.pop(value, _NO_ADDRESS)
            if value not in self._speaking and not self._told:
                what = "it does not have our public key, or is no node"
                self._reject("handshake", f"refused a connection from {address}: {what}")
            self._speaking.discard(value)
            self._told = False
        else:
            self._told = event == zmq.EVENT_HANDSHAKE_FAILED_AUTH

    def _key_refused(self, address: str, key: str) -> None:
        text = f"refused a connection from {_plain_address(address)}: its key is not listed: {key}"
        self._reject("key", f"{text} (public_key of a [remote.NAME])")

    def _reject(self, kind: str, text: str) -> None:
        self.rejected += 1
        self._troubles.say(kind, f"link: {text}")


def _socket(context: zmq.Context[zmq.Socket[bytes]], key: KeyPair) -> zmq.Socket[bytes]:
    made = context.socket(zmq.ROUTER)
    made.linger = limits.LINK_LINGER_MS
    made.curve_server = 1
    made.curve_secretkey = key.secret.encode()
    made.zap_domain = DOMAIN
    made.zap_enforce_domain = 1  # without a gate nobody gets in
    made.maxmsgsize = limits.LINK_MESSAGE_MAX
    made.rcvhwm = limits.LINK_HWM
    made.sndhwm = limits.LINK_HWM
    made.handshake_ivl = limits.LINK_HANDSHAKE_MS
    made.tcp_maxrt = limits.LINK_DEAD_MS
    made.ipv6 = 1
    made.router_mandatory = 1  # a send to somebody who left fails instead of vanishing
    return made


def _plain_address(address: str) -> str:
    """An address of IPv4 as people write it, also where the socket is one of IPv6 (RFC 4291, 2.5.5.2)."""
    return address.removeprefix("::ffff:")


def _address(descriptor: int) -> str:
    """Who is at the other end of an accepted connection, which may be gone by now."""
    connection = borrowed.hold(descriptor)
    if connection is None:
        return _NO_ADDRESS
    try:
        with connection:
            return _plain_address(str(connection.getpeername()[0]))
    except (OSError, IndexError):
        return _NO_ADDRESS
