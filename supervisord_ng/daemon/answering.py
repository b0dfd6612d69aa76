"""Operators' requests from the node above, and our answers: the child's end. See docs/protocol.md.

Each answer is a stream of bytes, cut into parts when there is room for them at the other end. Parts
are kept until the parent has them. Who may ask what, and what the answer is, is for others.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from supervisord_ng import limits
from supervisord_ng.control.connection import report_failure
from supervisord_ng.core.state import NodeState
from supervisord_ng.model.link import Ask, Done, Part
from supervisord_ng.runtime import clock


class _Answer:
    """An answer under way."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.got = 0
        self.heard_at = clock.monotonic_ns()
        self.sent = 0
        self.unsent = bytearray()
        self.parts: dict[int, Part] = {}  # sent, and perhaps lost
        self.is_whole = False
        self.end_sent = False
        self.has_room = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Answerer:
    """Answers the node above.

    Args:
        state: the core's state as of now.
        send: says something to the node above; it may get lost.
        serve: the answer to a request, piece by piece; never raises.
    """

    def __init__(
        self,
        state: Callable[[], NodeState],
        send: Callable[[Part], object],
        serve: Callable[[Ask], AsyncGenerator[bytes]],
    ) -> None:
        self._state = state
        self._send = send
        self._serve = serve
        self._open: dict[int, _Answer] = {}
        self._finished: OrderedDict[int, None] = OrderedDict()  # a late repetition begins nothing

    def heard(self, frame: Ask | Done) -> None:
        """The node above wants something, or does not any more; what is late or repeated does no harm."""
        state = self._state()
        uplink = state.uplink
        if uplink is None or frame.boot != uplink.peer or frame.to != state.boot:
            return
        answer = self._open.get(frame.id)
        if isinstance(frame, Done):
            self._end(frame.id)
        elif answer is not None:
            self._go_on(answer, frame.got)
        elif frame.id not in self._finished and self._has_room():
            answer = self._open[frame.id] = _Answer(frame)
            answer.task = asyncio.create_task(self._answer(answer))
            answer.task.add_done_callback(report_failure)

    def link_lost(self) -> None:
        """There is no link to the node above: what it asked goes on, but nobody waits for the answers."""
        for number in list(self._open):
            self._end(number)
        self._finished.clear()  # the next boot counts anew

    def _has_room(self) -> bool:
        """Whether one more may be answered. Those that nobody asks for any more end: their Done was lost."""
        if len(self._open) < limits.LINK_ASKS_MAX:
            return True
        silent_since = clock.monotonic_ns() - limits.LINK_ASK_SILENT_NS
        for number in [n for n, answer in self._open.items() if answer.heard_at < silent_since]:
            self._end(number)
        return len(self._open) < limits.LINK_ASKS_MAX

    def _end(self, number: int) -> None:
        answer = self._open.pop(number, None)
        self._finished[number] = None
        while len(self._finished) > limits.CONTROL_REQUESTS_KEPT:
            self._finished.popitem(last=False)
        if answer is not None and answer.task is not None:
            answer.task.cancel()

    def _go_on(self, answer: _Answer, got: int) -> None:
        """So many parts have come. Who says so twice misses the next ones."""
        answer.heard_at = clock.monotonic_ns()
        if got == answer.got:
            for part in answer.parts.values():
                self._send(part)
            return
        answer.got = max(got, answer.got)
        for number in [number for number in answer.parts if number <= got]:
            del answer.parts[number]
        self._flush(answer)

    async def _answer(self, answer: _Answer) -> None:
        async with aclosing(self._serve(answer.ask)) as pieces:
            async for piece in pieces:
                answer.unsent += piece
                self._flush(answer)
                while len(answer.unsent) > limits.LINK_PART_MAX:
                    answer.has_room.clear()
                    await answer.has_room.wait()
        answer.is_whole = True
        self._flush(answer)

    def _flush(self, answer: _Answer) -> None:
        """Send what is there, as far as there is room: many small pieces become few parts."""
        while not answer.end_sent and answer.sent < answer.got + limits.LINK_PARTS_WINDOW:
            body = bytes(answer.unsent[: limits.LINK_PART_MAX])
            del answer.unsent[: limits.LINK_PART_MAX]
            answer.end_sent = answer.is_whole and not answer.unsent
            if not body and not answer.end_sent:
                break
            answer.sent += 1
            ask = answer.ask
            part = Part(ask.to, ask.boot, ask.id, answer.sent, body, answer.end_sent)
            answer.parts[answer.sent] = part
            self._send(part)
        answer.has_room.set()
