"""Crash reports between nodes, as the daemon carries them: out of the store, into the store.

What is sent and when, what is taken and what is acknowledged is decided in the core, by numbers. Here are the
reports that belong to the numbers. A storm must not hold up heartbeats and commands on the same connection, so
only a window of bytes is under way; and what our own disk has no room for is not taken, it comes again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from supervisord_ng import limits
from supervisord_ng.core.effects import ReportsAcked, SendReports, TakeReports
from supervisord_ng.core.events import Event, ReportsArrived, ReportsOffered, ReportStored
from supervisord_ng.core.state import NodeState
from supervisord_ng.errors import ProtocolError, StoreError
from supervisord_ng.model.link import Reports
from supervisord_ng.reports import inbox, outbox
from supervisord_ng.reports.outbox import Load
from supervisord_ng.reports.queue import Parcel
from supervisord_ng.reports.store import Store


class Courier:
    """Both directions.

    Args:
        loop: of the daemon; every method but `stored` is called from it.
        store: of this node.
        path: of its file.
        feed: takes an event for the core.
        is_idle: whether the core has heard everything that it was fed.
        state: the core's state as of now.
        send_up: says something to the node above; it may get lost.
        on_sent: told the number up to which the node above has stored our reports.
        on_problem: told, in words for a person, what goes wrong; called in any thread.

    Attributes:
        rejected: parcels and reports from below that could not be read.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: Store,
        path: str,
        feed: Callable[[Event], None],
        is_idle: Callable[[], bool],
        state: Callable[[], NodeState],
        send_up: Callable[[Reports], object],
        on_sent: Callable[[int], None],
        on_problem: Callable[[str], None],
    ) -> None:
        self.rejected = 0
        self._loop = loop
        self._store = store
        self._path = path
        self._feed = feed
        self._is_idle = is_idle
        self._state = state
        self._send_up = send_up
        self._on_sent = on_sent
        self._on_problem = on_problem
        self._next = 0  # everything up to this number is sent
        self._upto = 0  # everything up to this number may be sent
        self._loading = False
        self._under_way: deque[tuple[int, int]] = deque()  # last number and bytes of each frame
        self._offered: dict[str, list[Reports]] = {}  # until the core says whether to take them

    # --- up --------------------------------------------------------------------------------------
    def stored(self, last: int) -> None:
        """The store holds reports up to this number. To be called in the writer's thread."""
        self._loop.call_soon_threadsafe(self._feed, ReportStored(last))

    def carry(self, effect: SendReports | TakeReports | ReportsAcked) -> None:
        """Do what the core wants to be done with reports."""
        match effect:
            case SendReports(after=after, upto=upto):
                if after != self._upto:  # again, from the last acknowledgement on
                    self._next = after
                    self._under_way.clear()
                self._upto = upto
                self._pump()
            case ReportsAcked(upto=upto):
                self._store.acknowledged(upto)
                self._on_sent(upto)
                self._next = max(self._next, upto)
                while self._under_way and self._under_way[0][0] <= upto:
                    self._under_way.popleft()
                self._pump()
            case TakeReports(remote=remote, upto=upto):
                self._take(remote, upto)

    def _pump(self) -> None:
        """Load the next frame, one at a time, while the window is open."""
        size = sum(size for _, size in self._under_way)
        if self._loading or self._next >= self._upto or size >= limits.LINK_REPORTS_WINDOW_BYTES:
            return
        self._loading = True
        loading = self._loop.run_in_executor(None, outbox.load, self._path, self._next, self._upto)
        loading.add_done_callback(self._loaded)

    def _loaded(self, loading: asyncio.Future[Load]) -> None:
        self._loading = False
        if loading.cancelled():
            return
        try:
            load = loading.result()
        except StoreError as error:
            self._on_problem(f"{error}; they are sent later")
            return
        uplink = self._state().uplink
        if uplink is None or uplink.peer is None:
            return  # with a new link it begins anew
        if load.after == self._next:
            self._next = load.upto
            self._under_way.append((load.upto, len(load.packed)))
            boot = self._state().boot
            self._send_up(Reports(boot, uplink.peer, load.after, load.upto, load.size, load.packed))
        self._pump()

    # --- down ------------------------------------------------------------------------------------
    def arrived(self, remote: str, frame: Reports) -> None:
        """The node below that is called `remote` has sent reports.

        Raises:
            ProtocolError: they are not within the bounds of the protocol.
        """
        state = self._state()
        link = state.downlinks.get(remote)
        if link is None or frame.boot != link.peer or frame.to != state.boot:
            return  # late
        too_much = (
            frame.size > limits.LINK_UNPACKED_MAX or len(frame.packed) > limits.LINK_PACKED_MAX
        )
        if too_much or frame.upto <= frame.after or frame.after < 0:
            raise ProtocolError(
                f"cannot take reports {frame.after} to {frame.upto}: {frame.size} bytes"
            )
        waiting = self._offered.setdefault(remote, [])
        if self._is_idle():
            waiting.clear()  # the core did not want these
        if len(waiting) < limits.REPORTS_OFFERED_MAX and self._store.has_room(frame.size):
            waiting.append(frame)
            self._feed(ReportsOffered(remote, frame.after, frame.upto))

    def _take(self, remote: str, upto: int) -> None:
        # What overlaps may be here twice; the larger piece has all that the core knows of.
        frame = min(
            (frame for frame in self._offered[remote] if frame.upto == upto),
            key=lambda frame: frame.after,
        )
        self._offered[remote].remove(frame)
        load = partial(inbox.reports_in, frame.packed, frame.size, remote, self._bad)
        self._store.receive(Parcel(load, frame.size, partial(self._written, remote, upto)))

    def _written(self, remote: str, upto: int) -> None:
        """In the writer's thread: what that node has sent is on disk."""
        self._loop.call_soon_threadsafe(self._feed, ReportsArrived(remote, upto))

    def _bad(self, why: str) -> None:
        self.rejected += 1
        self._on_problem(f"reports from below: {why}")
