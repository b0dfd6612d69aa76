"""The other nodes, as the daemon meets them: the links, and what goes over them beside the core's own frames.

Joins those who carry crash reports and operators' requests with the links, and lets them know when a link is
gone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from typing import Any

from supervisord_ng.control.access import Caller
from supervisord_ng.core.effects import Note, OfLink, SendDown, SendUp
from supervisord_ng.core.state import Outbox
from supervisord_ng.daemon.answering import Answerer
from supervisord_ng.daemon.asking import Asker
from supervisord_ng.daemon.courier import Courier
from supervisord_ng.daemon.feed import Feed
from supervisord_ng.daemon.fleet import Fleet
from supervisord_ng.daemon.links import Links
from supervisord_ng.errors import ProtocolError
from supervisord_ng.model import names, paths
from supervisord_ng.model.link import BesideFromChild, Reports
from supervisord_ng.model.messages import Request
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import TreeSpec
from supervisord_ng.reports.store import Store
from supervisord_ng.runtime.shell import Shell


class Neighbours:
    """The node above and the nodes below.

    Args:
        loop: of the daemon.
        tree: what the configuration says.
        store: of this node.
        shell: of its core.
        lines: what this node answers to a request.
        feed: takes what operators should hear.
        log: the daemon's own log.

    Attributes:
        links: to them.
        fleet: the nodes below, for operators.

    Raises:
        SupervisordNGError: see `Links`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tree: TreeSpec,
        store: Store,
        shell: Shell,
        lines: Callable[[Caller, Request], AsyncGenerator[bytes]],
        feed: Feed,
        log: Any,
    ) -> None:
        self._store = store
        self._feed = feed
        self._on_problem = log.warning
        self.links = links = Links(loop, tree, shell.feed, log)
        self._courier = Courier(
            loop,
            store,
            os.path.join(tree.node.state_dir, paths.STORE),
            shell.feed,
            lambda: shell.is_idle,
            lambda: shell.state,
            links.send_up,
            self._sent,
            log.warning,
        )
        self._asker = Asker(lambda: shell.state, links.send_down)
        self.fleet = Fleet(
            lambda: shell.state,
            self._asker,
            links.since,
            lines,
            control=tree.parent is None or tree.parent.control,
        )
        self._answerer = Answerer(lambda: shell.state, links.send_up, self.fleet.serve)
        self._rejected = 0
        links.beside_from_child = self._from_child
        links.beside_from_parent = self._answerer.heard

    @property
    def rejected(self) -> int:
        """What was counted and dropped."""
        return self.links.rejected + self._rejected + self._courier.rejected

    def outbox(self) -> Outbox:
        """How far the reports of this node have come, for the core at its beginning."""
        position = self._store.outbox
        return Outbox(stored=position.last, acked=position.acked, sent=position.acked)

    def stored(self, last: int) -> None:
        """The store holds reports up to this number. To be called in the writer's thread."""
        self._courier.stored(last)

    def carry(self, effect: OfLink) -> None:
        """Do what the core wants to be done."""
        match effect:
            case SendDown(remote=name, frame=frame):  # what there is most comes first
                self.links.send_down(name, frame)
            case SendUp(frame=frame):
                self.links.send_up(frame)
            case _:
                self._courier.carry(effect)

    def noted(self, note: Note) -> None:
        """A link that has gone down, or has come up with another life of its daemon, ends what was on it."""
        self.links.noted(note)
        if note.event not in (EventName.LINK_UP, EventName.LINK_DOWN):
            return
        if note.kind == "remote":
            self._asker.link_lost(names.leaf(note.path))
        else:
            self._answerer.link_lost()

    def _sent(self, upto: int) -> None:
        self._feed.publish(EventName.REPORT_SENT, None, None, detail=f"up to number {upto}")

    def _from_child(self, name: str, frame: BesideFromChild) -> None:
        if not isinstance(frame, Reports):
            self._asker.heard(name, frame)
            return
        try:
            self._courier.arrived(name, frame)
        except ProtocolError as error:
            self._rejected += 1
            self._on_problem(f"dropped reports of {name}: {error}")
