"""The links to other nodes, as the daemon holds them: opened, fed into the core, told in `status`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Literal

from supervisord_ng import limits
from supervisord_ng.core.effects import Note
from supervisord_ng.core.events import (
    Connected,
    Event,
    FrameFromChild,
    FrameFromParent,
    FramesFromChildren,
)
from supervisord_ng.core.state import NodeState
from supervisord_ng.model.link import (
    AnyFromParent,
    BesideFromChild,
    BesideFromParent,
    FromChild,
    FromParent,
)
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import RemoteSpec, SupervisorSpec, TreeSpec
from supervisord_ng.model.status import ParentLink
from supervisord_ng.runtime import clock
from supervisord_ng.runtime.linkclient import LinkClient
from supervisord_ng.runtime.linkserver import LinkServer, Received
from supervisord_ng.wire import keys


class Links:
    """Both directions. A node without neighbours has none, and needs no key.

    Args:
        loop: of the daemon.
        tree: what the configuration says.
        feed: takes an event for the core.
        log: the daemon's own log.

    Attributes:
        beside_from_child: takes what a node below says beside the frames of the core.
        beside_from_parent: takes what the node above says so.

    Raises:
        SupervisordNGError: the key cannot be used, or nobody can connect to where nodes below should.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tree: TreeSpec,
        feed: Callable[[Event], None],
        log: Any,
    ) -> None:
        self.boot_id = secrets.token_hex(limits.LINK_BOOT_BYTES)
        self.beside_from_child: Callable[[str, BesideFromChild], None] = _nobody_listens
        self.beside_from_parent: Callable[[BesideFromParent], None] = _nobody_listens
        self._feed = feed
        self._since: dict[
            str, float
        ] = {}  # when a link came up or went down, by the path it is noted at
        self._started = clock.wall_s()
        self._allowed: dict[str, str] = {}  # names of nodes below by their keys
        self._server: LinkServer | None = None
        self._client: LinkClient | None = None
        self.allow(tree.root)
        node, parent = tree.node, tree.parent
        if node.listen is None and parent is None:
            return
        key, is_new = keys.read_or_create(node.secret_key_file)
        told = "made the key of this node" if is_new else "the key of this node"
        log.info(told, public_key=key.public, file=node.secret_key_file)
        if node.listen is not None:
            self._server = LinkServer(
                loop, node.listen, key, self._allowed, self._from_children, log.warning
            )
        if parent is not None:
            self._client = LinkClient(
                loop,
                parent.endpoint,
                key,
                parent.public_key,
                self._from_parent,
                lambda: feed(Connected()),
                log.warning,
            )

    def allow(self, root: SupervisorSpec) -> None:
        """Let in the nodes that this tree names, by the keys that it has for them.

        Whose key has changed has to come anew with the other one. Who is not named any more may still be told
        to stop, but not come again.
        """
        before = {name: key for key, name in self._allowed.items()}
        self._allowed.clear()
        for spec in remotes_of(root):
            self._allowed[spec.public_key] = spec.name
            if self._server and before.get(spec.name, spec.public_key) != spec.public_key:
                self._server.forget(spec.name)

    @property
    def rejected(self) -> int:
        """What was counted and dropped."""
        ends = (self._server, self._client)
        return sum(end.rejected for end in ends if end is not None)

    def send_up(self, frame: FromChild | BesideFromChild) -> bool:
        """Say something to the node above; it may get lost. False: it can not be reached just now."""
        return self._client is not None and self._client.send(frame)

    def send_down(self, name: str, frame: FromParent | BesideFromParent) -> bool:
        """Say something to a node below; likewise."""
        return self._server is not None and self._server.send(name, frame)

    def noted(self, note: Note) -> None:
        """Remember since when a link is up or down."""
        if note.event in (EventName.LINK_UP, EventName.LINK_DOWN):
            self._since[note.path] = clock.wall_s()
            if note.event is EventName.LINK_DOWN and self._server and note.kind == "remote":
                self._server.forget(note.path.rpartition("/")[2])

    def since(self, path: str) -> float | None:
        """When the link to the child at `path` came up or went down; None: not in this life."""
        return self._since.get(path)

    def drain(self) -> None:
        """Take in what has arrived; to be called before anybody is judged."""
        if self._server is not None:
            self._server.drain()
        if self._client is not None:
            self._client.drain()

    def parent(self, state: NodeState) -> ParentLink | None:
        """The link to the node above, None for a node of its own."""
        uplink = state.uplink
        if uplink is None:
            return None
        link: Literal["up", "down"] = "down" if uplink.peer is None else "up"
        return ParentLink(uplink.parent, link, self._since.get(state.root, self._started))

    def close(self) -> None:
        """Hang up, once the goodbyes are on their way."""
        if self._client is not None:
            self._client.close()
        if self._server is not None:
            self._server.close()

    def _from_children(self, received: list[Received]) -> None:
        frames = []
        for name, frame in received:
            if isinstance(frame, FromChild):
                frames.append(FrameFromChild(name, frame))
            elif frame.to == self.boot_id:
                self.beside_from_child(name, frame)
        if frames:
            self._feed(FramesFromChildren(tuple(frames)))

    def _from_parent(self, received: list[AnyFromParent]) -> None:
        for frame in received:
            if isinstance(frame, FromParent):
                self._feed(FrameFromParent(frame))
            elif isinstance(frame, BesideFromParent) and frame.to == self.boot_id:
                self.beside_from_parent(frame)


def _nobody_listens(*_: object) -> None:
    """What is said beside the frames of the core is for those who have asked to hear it."""


def remotes_of(spec: SupervisorSpec) -> list[RemoteSpec]:
    """Every node below that a tree names."""
    found: list[RemoteSpec] = []
    for child in spec.children:
        if isinstance(child, RemoteSpec):
            found.append(child)
        elif isinstance(child, SupervisorSpec):
            found += remotes_of(child)
    return found
