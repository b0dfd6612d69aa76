"""The memory that makes a request idempotent: what each request id was answered, within bounds.

A client that lost its connection may send the same request again, under the same id, and must not
have it done twice: it joins the one in progress, or is told what the first one was told. Knows
neither sockets nor verbs.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from supervisord_ng.errors import ControlError
from supervisord_ng.limits import CONTROL_ANSWERS_BYTES_MAX, CONTROL_REQUESTS_KEPT
from supervisord_ng.model.messages import Request

Key = tuple[int, str]  # uid and request id: users do not see one another's answers


class Answers:
    """Requests in progress and the answers of the latest finished ones.

    Args:
        count_max: finished requests remembered, and requests in progress at a time.
        bytes_max: bytes of all remembered answers together; the oldest go first.
    """

    def __init__(
        self,
        count_max: int = CONTROL_REQUESTS_KEPT,
        bytes_max: int = CONTROL_ANSWERS_BYTES_MAX,
    ) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._open: dict[Key, tuple[Request, asyncio.Future[bytes]]] = {}
        self._done: OrderedDict[Key, tuple[Request, asyncio.Future[bytes]]] = OrderedDict()
        self._bytes = 0

    def find(self, uid: int, request: Request) -> asyncio.Future[bytes] | None:
        """The answer, perhaps still to come, of the same request sent before; None for a new one.

        Raises:
            ControlError: bad_request, the id was used for something else. Answering that one's
            answer would
                tell the client that a thing was done which was not.
        """
        key = (uid, request.id)
        known = self._open.get(key) or self._done.get(key)
        if known is None:
            return None
        if known[0] != request:
            raise ControlError(
                "bad_request",
                f"cannot {request.verb}: request id {request.id!r} was used for another request",
                "every request needs an id of its own",
            )
        return known[1]

    def begin(self, uid: int, request: Request) -> asyncio.Future[bytes]:
        """Note that a new request is in progress; `finish` completes the future returned.

        Raises:
            ControlError: too_many, as many requests as are allowed are in progress.
        """
        assert (uid, request.id) not in self._open
        if len(self._open) >= self._count_max:
            raise ControlError(
                "too_many",
                f"cannot {request.verb}: {len(self._open)} requests are in progress",
                "wait until some are done",
            )
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[uid, request.id] = (request, answer)
        return answer

    def finish(self, uid: int, request: Request, line: bytes) -> None:
        """Complete a request with its answer and remember it as long as there is room."""
        key = (uid, request.id)
        _, answer = self._open.pop(key)
        answer.set_result(line)
        self._done[key] = (request, answer)
        self._bytes += len(line)
        while len(self._done) > self._count_max or self._bytes > self._bytes_max:
            _, (_, oldest) = self._done.popitem(last=False)
            self._bytes -= len(oldest.result())
