"""The nodes below this one, for an operator: who there is, how they are, and requests to one of them.

A node knows its own children only. Whatever is further down it learns by asking them, each time anew
and for a bounded time, so nothing here can be out of date. What another node answers is passed on as
it is; what it says of itself is not trusted to be well formed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from supervisord_ng import limits
from supervisord_ng.control.access import NOBODY, Caller
from supervisord_ng.control.lines import refused
from supervisord_ng.control.server import READING_VERBS, STREAMING_VERBS
from supervisord_ng.core.state import NodeState
from supervisord_ng.daemon.asking import Asker
from supervisord_ng.errors import ControlError
from supervisord_ng.model.link import Ask
from supervisord_ng.model.messages import Answer, Request
from supervisord_ng.model.status import NodeStatus, ReportCounts
from supervisord_ng.runtime import clock

_ANSWER = msgspec.json.Decoder(Answer)
_REQUEST = msgspec.json.Decoder(Request)
_STATUS = msgspec.json.Decoder(dict[str, Any])
_NO_ANSWER = (ControlError, TimeoutError, msgspec.MsgspecError, KeyError)


class Below(msgspec.Struct, frozen=True):
    """One node below: the way to it, and whether it can be reached from the one above it."""

    route: tuple[str, ...]
    link: str  # "up", "down", or "silent": it does not answer
    since: float | None


class Nodes(msgspec.Struct, frozen=True):
    """The answer to the verb ``nodes``."""

    nodes: tuple[Below, ...]


_NODES = msgspec.json.Decoder(Nodes)


class Fleet:
    """Asks the nodes below on behalf of operators, and answers those of the node above.

    Args:
        state: the core's state as of now.
        asker: the way to the nodes below.
        since: when the link to the child at a path came up or went down, in seconds since the epoch; None: not
            in this life of the daemon.
        lines: what this node answers to a request.
        control: whether operators of the node above may act here.
    """

    def __init__(
        self,
        state: Callable[[], NodeState],
        asker: Asker,
        since: Callable[[str], float | None],
        lines: Callable[[Caller, Request], AsyncGenerator[bytes]],
        *,
        control: bool,
    ) -> None:
        self._state = state
        self._asker = asker
        self._since = since
        self._lines = lines
        self._control = control
        self._asked = 0

    # --- requests to another node ----------------------------------------------------------------
    def forward(self, caller: Caller, request: Request) -> Awaitable[Any] | AsyncIterator[Any]:
        """Have another node do what `request` asks; the answer is that of `ControlServer`'s handlers."""
        if request.verb in STREAMING_VERBS:
            return self._items(caller, request)
        return self._result(caller, request)

    async def _result(self, caller: Caller, request: Request) -> msgspec.Raw:
        async with aclosing(self._answers(caller, request)) as answers:
            async for answer in answers:
                return answer.result
        raise _broken(request)

    async def _items(self, caller: Caller, request: Request) -> AsyncGenerator[msgspec.Raw]:
        async with aclosing(self._answers(caller, request)) as answers:
            async for answer in answers:
                if not bytes(answer.item):
                    return
                yield answer.item

    async def _answers(self, caller: Caller, request: Request) -> AsyncGenerator[Answer]:
        """The lines that another node answers with.

        Raises:
            ControlError: it cannot be reached, or it refuses.
        """
        assert request.node is not None
        route = await self._route(request.node)
        asked = msgspec.structs.replace(request, node=None)
        if (
            not route
        ):  # another request than the one that names us, in the eyes of who remembers them
            asked = msgspec.structs.replace(asked, id=f"{request.id}/here")
            pieces = self._lines(caller, asked)
        else:
            encoded = msgspec.json.encode(asked)
            pieces = self._asker.ask(route[0], route[1:], self._state().name, caller, encoded)
        async with aclosing(_whole_lines(pieces, request)) as lines:
            async for line in lines:
                yield _understood(line, request)

    async def _route(self, wanted: str) -> tuple[str, ...]:
        """The way to the node that `wanted` names: a name, or the end of a path as mid/leaf.

        Raises:
            ControlError: not_found, bad_request (several fit), no_link.
        """
        own = self._state().name
        asked = tuple(wanted.split("/"))
        nodes = [Below((), "up", None), *await self.nodes(limits.FLEET_WITHIN_S)]
        found = [node for node in nodes if (own, *node.route)[-len(asked) :] == asked]
        if len(found) > 1:
            ways = " or ".join("/".join((own, *node.route)) for node in found)
            raise ControlError(
                "bad_request", f"cannot reach node {wanted}: several have that name", f"say {ways}"
            )
        if found and found[0].link == "up":
            return found[0].route
        if found:
            raise ControlError("no_link", f"cannot reach node {wanted}: {_why(found[0])}")
        dark = [node for node in nodes if node.link != "up"]
        if dark:
            told = "; ".join(f"{'/'.join(node.route)}: {_why(node)}" for node in dark)
            raise ControlError(
                "no_link",
                f"cannot reach node {wanted}: it is none of those that can be reached",
                f"it may be below one of these: {told}",
            )
        raise ControlError("not_found", f"no such node: {wanted}", "see: sng status --all")

    # --- requests of the node above --------------------------------------------------------------
    async def serve(self, ask: Ask) -> AsyncGenerator[bytes]:
        """The answer to a request of the node above, for us or for a node below. Never raises."""
        caller = Caller(uid=ask.uid, gid=NOBODY, pid=ask.pid, node=ask.asker)
        try:
            request = _REQUEST.decode(ask.request)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield refused(None, ControlError("bad_request", f"cannot read the request: {error}"))
            return
        if request.verb not in READING_VERBS and not self._control:
            own = self._state().name
            why = f"cannot {request.verb}: node {own} takes no orders of operators on other nodes"
            hint = f"control = false in [parent] of its configuration; {ask.asker} may read"
            yield refused(request.id, ControlError("denied", why, hint))
            return
        if not ask.route:
            pieces = self._lines(caller, request)
        else:
            pieces = self._asker.ask(ask.route[0], ask.route[1:], ask.asker, caller, ask.request)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
        except ControlError as error:
            yield refused(request.id, error)

    # --- who there is ----------------------------------------------------------------------------
    async def nodes(self, within_s: float) -> list[Below]:
        """Every node below, depth first, as far as they can be reached within this time."""
        links = self._state().downlinks
        found = await asyncio.gather(*(self._nodes_at(name, within_s) for name in links))
        return [node for branch in found for node in branch]

    async def _nodes_at(self, name: str, within_s: float) -> list[Below]:
        since = self._since_of(name)
        if self._dark(name) == "down":
            return [Below((name,), "down", since)]
        try:
            told = _NODES.decode(await self._ask(name, "nodes", within_s))
        except _NO_ANSWER:
            return [Below((name,), self._dark(name), since)]
        below = [msgspec.structs.replace(node, route=(name, *node.route)) for node in told.nodes]
        return [Below((name,), "up", since), *below]

    async def statuses(self, within_s: float) -> list[dict[str, Any]]:
        """The status of every node below, flat, depth first; of one that cannot be reached only its link."""
        links = self._state().downlinks
        found = await asyncio.gather(*(self._statuses_at(name, within_s) for name in links))
        return [status for branch in found for status in branch]

    async def _statuses_at(self, name: str, within_s: float) -> list[dict[str, Any]]:
        status: dict[str, Any] = _unknown(name)
        state = self._dark(name)
        rtt_ms: float | None = None
        waiting: int | None = None
        further: list[dict[str, Any]] = []
        if state != "down":
            begin = clock.monotonic_ns()
            try:
                async with asyncio.timeout(within_s):
                    await self._ask(name, "version", within_s)
                    rtt_ms = (clock.monotonic_ns() - begin) / limits.MS
                    told = await self._ask(name, "status", within_s, all=True)
                status = _STATUS.decode(told)
                waiting = msgspec.convert(status["reports"], ReportCounts).waiting
                further = msgspec.convert(status.pop("nodes"), list[dict[str, Any]])
                state = "up"
            except _NO_ANSWER:
                status, state = _unknown(name), self._dark(name)
        status["parent_node"] = self._state().name
        status["link"] = {
            "state": state,
            "since": self._since_of(name),
            "rtt_ms": rtt_ms,
            "reports_waiting": waiting,
        }
        return [status, *further]

    def _dark(self, name: str) -> str:
        """What is to be said of the link to a child that has not answered."""
        link = self._state().downlinks.get(name)  # a reload may have taken it away
        return "down" if link is None or link.peer is None else "silent"

    def _since_of(self, name: str) -> float | None:
        link = self._state().downlinks.get(name)
        return None if link is None else self._since(link.path)

    async def _ask(self, name: str, verb: str, within_s: float, **args: Any) -> msgspec.Raw:
        """Ask a child something on our own behalf.

        Raises:
            ControlError, TimeoutError: it refuses, or does not answer in time.
        """
        self._asked += 1
        state = self._state()
        if verb != "version":
            args["within_s"] = within_s * limits.FLEET_WITHIN_SHARE
        request = Request(f"{state.boot}-{self._asked}", verb, args)
        encoded = msgspec.json.encode(request)
        pieces = self._asker.ask(
            name, (), state.name, Caller(uid=os.geteuid(), gid=NOBODY, pid=os.getpid()), encoded
        )
        async with asyncio.timeout(within_s), aclosing(_whole_lines(pieces, request)) as lines:
            async for line in lines:
                return _understood(line, request).result
        raise _broken(request)


def _understood(line: bytes, request: Request) -> Answer:
    """What a line of another node says.

    Raises:
        ControlError: it says no, or is not in our language.
    """
    try:
        answer = _ANSWER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ControlError(
            "failed", f"cannot {request.verb}: cannot understand the other node: {error}"
        ) from error
    if answer.error is not None:
        raise ControlError(answer.error.code, answer.error.message, answer.error.hint)
    return answer


async def _whole_lines(pieces: AsyncGenerator[bytes], request: Request) -> AsyncGenerator[bytes]:
    """The lines in a stream of bytes.

    Raises:
        ControlError: too_many, a line is longer than we take.
    """
    unread = bytearray()
    async with aclosing(pieces):
        async for piece in pieces:
            unread += piece
            *lines, rest = unread.split(b"\n")
            unread = bytearray(rest)
            for line in lines:
                yield bytes(line)
            if len(unread) > limits.LINK_ANSWER_MAX:
                raise ControlError(
                    "too_many",
                    f"cannot {request.verb}: the answer has more than {limits.LINK_ANSWER_MAX} bytes",
                    "ask for less (-n)",
                )


def _unknown(name: str) -> dict[str, Any]:
    """What status says of a node of which nothing is known."""
    keys: dict[str, Any] = dict.fromkeys(NodeStatus.__struct_fields__)
    counts = dict.fromkeys(ReportCounts.__struct_fields__)
    return keys | {"node": name, "reports": counts, "children": []}


def _why(node: Below) -> str:
    """Why a node cannot be reached."""
    if node.link == "silent":
        return "it does not answer"
    if node.since is None:
        return "no link since the daemon above it was started"
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(node.since))
    return f"no link since {when}"


def _broken(request: Request) -> ControlError:
    return ControlError("failed", f"cannot {request.verb}: the answer ended before its end")
