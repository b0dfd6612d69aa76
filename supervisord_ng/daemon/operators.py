"""What operators may order: the calls to the core on their behalf, each answered when it is done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from supervisord_ng import limits
from supervisord_ng.core.effects import Reply
from supervisord_ng.core.events import Call, Event
from supervisord_ng.core.state import NodeState, Phase, Standing
from supervisord_ng.model import names
from supervisord_ng.model.remains import Remains
from supervisord_ng.model.status import Row
from supervisord_ng.model.words import explain

Verb = Literal["start", "stop", "restart"]
Operation = Literal[
    "start_child", "restart_child", "terminate_child", "renew_child", "delete_child"
]

_REFUSALS = {
    "not_found": "no such child",
    "noproc": "its supervisor is not running",
    "shutdown": "its supervisor is stopping",
    "simple_one_for_one": "an instance of a template is removed by its stop",
    "running": "it runs (stop it first)",
    "restarting": "it is being restarted (stop it first)",
    "already_present": "a child of this name is there, stopped (start or delete it)",
    "already_started": "a child of this name runs",
}


class Outcome(msgspec.Struct, frozen=True):
    """What became of an order for one child."""

    path: str
    ok: bool
    code: str
    message: str
    pid: int | None = None
    incarnation: int | None = None


class Operators:
    """Turns orders into calls and waits for their replies.

    Args:
        feed: takes an event for the core.
        state: the core's state as of now.
        remains: what is known of a worker's latest incarnation.
        when_written: calls back, in another thread, when all that has been decided is on the disk.
    """

    def __init__(
        self,
        feed: Callable[[Event], None],
        state: Callable[[], NodeState],
        remains: Callable[[str], Remains | None],
        when_written: Callable[[Callable[[], None]], None],
    ) -> None:
        self._feed = feed
        self._state = state
        self._remains = remains
        self._when_written = when_written
        self._next = 0
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._why: dict[int, str | None] = {}  # of failed starts, until they are told

    def reply(self, reply: Reply) -> None:
        """The core has answered a call."""
        waiting = self._waiting.pop(reply.request, None)
        if waiting is not None and not waiting.done():
            if reply.code == "start_failed":  # a child that was added is forgotten with its words
                remains = self._remains(reply.path)
                self._why[reply.request] = None if remains is None else remains.message
            waiting.set_result(reply)

    async def order(self, verb: Verb, rows: list[Row]) -> list[Outcome]:
        """Carry a verb out on these children, one after the other; stops go in reverse order of the tree."""
        act: dict[Verb, Callable[[Row], Awaitable[Outcome]]] = {
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
        }
        ordered = list(reversed(rows)) if verb == "stop" else rows
        outcomes = [await act[verb](row) for row in ordered]
        await self.written()
        return outcomes

    async def written(self) -> None:
        """Answer when a crash of the daemon cannot undo it any more; a full disk is not waited for."""
        loop = asyncio.get_running_loop()
        written = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed by then
                loop.call_soon_threadsafe(written.set)

        self._when_written(tell)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(written.wait(), limits.ORDER_WRITTEN_S)

    async def _start(self, row: Row) -> Outcome:
        if row.kind == "supervisor" and self._is_up(row.path):
            return await self._start_below(row)
        reply = await self._call("restart_child", row.path, now=True)
        if reply.code == "running":
            return self._done(row.path, "already started", reply)
        return self._outcome(row.path, "start", "started", reply)

    async def _start_below(self, row: Row) -> Outcome:
        """A supervisor that runs is started by starting those below it that do not."""
        down = [c.path for c in self._state().supervisors[row.path].children.values()]
        for path in down:
            child = self._state().supervisors[row.path].children.get(names.leaf(path))
            if child is not None and child.standing is not Standing.UP:
                reply = await self._call("restart_child", path, now=True)
                if reply.code not in ("ok", "running"):
                    return self._failed(path, "start", reply)
        return Outcome(row.path, ok=True, code="ok", message="started", incarnation=row.incarnation)

    async def _stop(self, row: Row) -> Outcome:
        running = self._is_up(row.path)
        reply = await self._call("terminate_child", row.path)
        if reply.code == "ok":
            message = "stopped" if running else "already stopped"
            return Outcome(row.path, ok=True, code="ok", message=message)
        return self._failed(row.path, "stop", reply)

    async def _restart(self, row: Row) -> Outcome:
        reply = await self._call("renew_child", row.path)
        return self._outcome(row.path, "restart", "restarted", reply)

    async def start_child(self, path: str, **more: Any) -> Outcome:
        """Add a child at run time: an instance of its supervisor's template, or by a `spec`."""
        reply = await self._call("start_child", path, **more)
        await self.written()
        return self._outcome(path, "start", "started", reply)

    async def delete(self, rows: list[Row]) -> list[Outcome]:
        """Forget children that are stopped, the last first."""
        outcomes = []
        for row in reversed(rows):
            reply = await self._call("delete_child", row.path)
            if reply.code == "ok":
                outcomes.append(Outcome(row.path, ok=True, code="ok", message="deleted"))
            else:
                outcomes.append(self._failed(row.path, "delete", reply))
        await self.written()
        return outcomes

    async def _call(self, op: Operation, path: str, **more: Any) -> Reply:
        self._next += 1
        request = self._next
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        self._feed(Call(names.parent(path), request, op, names.leaf(path), **more))
        return await future

    def _is_up(self, path: str) -> bool:
        supervisor = self._state().supervisors.get(names.parent(path))
        child = None if supervisor is None else supervisor.children.get(names.leaf(path))
        return child is not None and child.phase is not Phase.DOWN

    def _outcome(self, path: str, verb: str, done: str, reply: Reply) -> Outcome:
        """What became of a start, in words."""
        if reply.code != "ok":
            return self._failed(path, verb, reply)
        if reply.incarnation is None:
            return Outcome(path, ok=True, code="ok", message="nothing to start")
        return self._done(path, done, reply)

    def _done(self, path: str, message: str, reply: Reply) -> Outcome:
        child = self._state().supervisors[names.parent(path)].children.get(names.leaf(path))
        pid = None if child is None else child.pid
        return Outcome(
            path, ok=True, code="ok", message=message, pid=pid, incarnation=reply.incarnation
        )

    def _failed(self, path: str, verb: str, reply: Reply) -> Outcome:
        """Say why not, with what the operating system said where it did."""
        if reply.code == "start_failed" and reply.reason is not None:
            why = explain(reply.reason.text)
            message = self._why.pop(reply.request, None)
            if message is not None:
                why = f"{why}: {message}"
        elif reply.code == "invalid" and reply.reason is not None:
            why = reply.reason.text
        else:
            why = _REFUSALS.get(reply.code, reply.code)
        return Outcome(path, ok=False, code=reply.code, message=f"cannot {verb} {path}: {why}")
