"""Operators' requests to the nodes below, and their answers: the parent's end. See docs/protocol.md.

An answer comes in parts. A request is said again until the whole of it is here, so nothing is lost
with a frame, and only so many parts are under way, so a slow reader slows the sender down. With the
link goes the request: whether a command was done is not known then, and that is said. Routes and
verbs are for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from supervisord_ng import limits
from supervisord_ng.control.access import Caller
from supervisord_ng.core.state import NodeState
from supervisord_ng.errors import ControlError
from supervisord_ng.model.link import Ask, Done, Part

_GRANT = limits.LINK_PARTS_WINDOW // 2


class _Open:
    """A request that is not answered to the end."""

    def __init__(self, remote: str, peer: str) -> None:
        self.remote = remote
        self.peer = peer  # the boot that was asked: no other can know the request
        self.got = 0
        self.parts: dict[int, Part] = {}
        self.is_lost = False
        self.changed = asyncio.Event()


class Asker:
    """Asks the nodes below.

    Args:
        state: the core's state as of now.
        send: says something to the node below of that name; it may get lost.
    """

    def __init__(
        self, state: Callable[[], NodeState], send: Callable[[str, Ask | Done], object]
    ) -> None:
        self._state = state
        self._send = send
        self._last = 0
        self._open: dict[int, _Open] = {}

    def heard(self, remote: str, part: Part) -> None:
        """A part of an answer has come; what is late, repeated or of another boot says nothing."""
        asked = self._open.get(part.id)
        if asked is None or asked.remote != remote:
            return
        ours = part.boot == asked.peer and part.to == self._state().boot
        if ours and asked.got < part.number <= asked.got + limits.LINK_PARTS_WINDOW:
            asked.parts[part.number] = part
            asked.changed.set()

    def link_lost(self, remote: str) -> None:
        """There is no link to that node any more."""
        for asked in self._open.values():
            if asked.remote == remote:
                asked.is_lost = True
                asked.changed.set()

    async def ask(
        self, remote: str, route: tuple[str, ...], asker: str, caller: Caller, request: bytes
    ) -> AsyncGenerator[bytes]:
        """The answer of a node below to a request, piece by piece.

        Args:
            remote: the child to be asked.
            route: the nodes below it that the request has still to go through.
            asker: the node on which the operator is.
            caller: the operator.
            request: a line of the control protocol.

        Raises:
            ControlError: no_link, too_many, bad_request; failed, when the link went while we waited.
        """
        asked = self._begin(remote, request)
        self._last += 1
        number = self._last
        self._open[number] = asked
        boot = self._state().boot

        def say() -> None:
            frame = Ask(
                boot, asked.peer, number, asked.got, route, asker, caller.uid, caller.pid, request
            )
            self._send(remote, frame)

        say()
        try:
            while True:
                part = await self._next(asked, say)
                yield part.body
                if part.end:
                    return
                if asked.got % _GRANT == 0:
                    say()
        finally:
            del self._open[number]
            self._send(remote, Done(boot, asked.peer, number))

    def _begin(self, remote: str, request: bytes) -> _Open:
        link = self._state().downlinks.get(remote)
        if link is None or link.peer is None:
            raise ControlError("no_link", f"cannot reach node {remote}: no link")
        if len(request) > limits.LINK_ASK_MAX:
            raise ControlError(
                "bad_request",
                f"cannot ask node {remote}: a request to another node has at most"
                f" {limits.LINK_ASK_MAX} bytes",
            )
        if sum(asked.remote == remote for asked in self._open.values()) >= limits.LINK_ASKS_MAX:
            raise ControlError(
                "too_many",
                f"cannot ask node {remote}: {limits.LINK_ASKS_MAX} requests are in progress there",
                "wait until some are done",
            )
        return _Open(remote, link.peer)

    async def _next(self, asked: _Open, say: Callable[[], None]) -> Part:
        """The next part; what does not come is asked for again."""
        while asked.got + 1 not in asked.parts:
            link = self._state().downlinks.get(asked.remote)
            if asked.is_lost or link is None or link.peer != asked.peer:
                raise ControlError(
                    "failed",
                    f"cannot wait for node {asked.remote}: the link to it went down",
                    "whether it was done is not known; see status",
                )
            asked.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.LINK_ASK_AGAIN_NS / limits.SECOND):
                    await asked.changed.wait()
                continue
            say()
        asked.got += 1
        return asked.parts.pop(asked.got)
