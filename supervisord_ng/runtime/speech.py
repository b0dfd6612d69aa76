"""What workers say through the SDK, taken in: of whom it is, what it means, what has to be done for it.

Joins the socket (`heartbeats`) and the records of workers, as `notifications` does for systemd's protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from supervisord_ng import limits
from supervisord_ng.core.events import Beat, Beats, BecameReady, Dumped, Event, SelfStopping
from supervisord_ng.model.remains import Remains
from supervisord_ng.runtime.heartbeats import HeartbeatServer, Received
from supervisord_ng.runtime.incarnation import Record
from supervisord_ng.runtime.tokens import Tokens
from supervisord_ng.wire import heartbeat as wire


class Speech:
    """Hears every worker.

    Args:
        loop: of the daemon.
        path: of the socket.
        tokens: of the workers of this node.
        living: the record of an incarnation, None when it is not the latest one of its worker.
        belongs: see `HeartbeatServer`.
        feed: takes the events.
        on_traceback: called when a worker's own account of its crash has arrived.
        on_rejection: told, in words, what was not accepted.

    Raises:
        OSError: the socket cannot be bound at `path`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        tokens: Tokens,
        living: Callable[[str, int], Record | None],
        belongs: Callable[[str, int], bool],
        feed: Callable[[Event], None],
        on_traceback: Callable[[Remains], None],
        on_rejection: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._tokens = tokens
        self._living = living
        self._feed = feed
        self._on_traceback = on_traceback
        self._leaving: dict[
            str, Remains
        ] = {}  # by token: gone, with last words perhaps on their way
        self.server = HeartbeatServer(loop, path, self._heard, belongs, on_rejection)

    def admit(self, record: Record, incarnation: int) -> None:
        """Let an incarnation speak, by the token of this number; one that is adopted may have another."""
        heartbeat = record.spec.heartbeat
        interval_ms = 0 if heartbeat is None else heartbeat.interval_ns // limits.MS
        record.token = self._tokens.of(record.path, incarnation)
        self.server.register(
            record.token,
            record.path,
            record.incarnation,
            record.spec.launch.user,
            interval_ms,
            0 if heartbeat is None else heartbeat.timeout_ns // limits.MS,
            awaited=record.spec.ready.kind == "heartbeat",
        )

    def dismiss(self, record: Record) -> None:
        """Let an incarnation speak no more; one that has just died may have its last words on their way."""
        token = record.token
        if token is None:
            return
        record.token = None
        if record.remains.spoke:
            self._leaving[token] = record.remains
            delay_s = limits.CRASH_FRAME_WAIT_NS / limits.SECOND
            self._loop.call_later(delay_s, self._left, token)
        else:
            self.server.unregister(token)

    def _left(self, token: str) -> None:
        del self._leaving[token]
        self.server.unregister(token)

    def _heard(self, received: list[Received]) -> None:
        """A batch of messages of the SDK: all signs of life in it are one event."""
        beats: list[Beat] = []
        others: list[Event] = []
        for path, incarnation, message in received:
            record = self._living(path, incarnation)
            if record is None:
                self._last_words(path, incarnation, message)
                continue
            record.remains.spoke = True
            if isinstance(message, wire.Beat):
                beats.append(Beat(path, incarnation, message.progress))
            else:
                others += self._said(record, message)
        if beats:
            self._feed(Beats(tuple(beats)))
        for event in others:
            self._feed(event)

    def _last_words(self, path: str, incarnation: int, message: wire.WorkerMessage) -> None:
        """A crash was told before the end and arrives after the next start; a beat so late is nobody's."""
        if isinstance(message, wire.Beat):
            self.server.reject(f"cannot accept beat of {path} #{incarnation}: it has ended")
        for remains in self._leaving.values():
            told = (remains.path, remains.incarnation) == (path, incarnation)
            if told and isinstance(message, wire.Crash):
                self._keep_traceback(remains, message)

    def _keep_traceback(self, remains: Remains, crash: wire.Crash) -> None:
        remains.traceback = crash.traceback
        remains.message = f"{crash.type}: {crash.message}"
        self._on_traceback(remains)

    def _said(self, record: Record, message: wire.WorkerMessage) -> list[Event]:
        match message:
            case wire.Ready() if record.spec.ready.kind == "heartbeat":
                record.watch.became_ready()
                return [BecameReady(record.path, record.incarnation)]
            case wire.Stopping() if record.spec.heartbeat is not None:
                record.watch.end()  # without a heartbeat nobody misses it: it may as well work on
                return [SelfStopping(record.path, record.incarnation)]
            case wire.Status(text):
                record.status = text
            case wire.Crash():
                self._keep_traceback(record.remains, message)
            case wire.Stacks(text):
                record.remains.stacks = f"{text}\n{record.remains.stacks or ''}"
                return [Dumped(record.path, record.incarnation)]
            case _:
                pass
        return []
