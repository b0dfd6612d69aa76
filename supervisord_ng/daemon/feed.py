"""The stream of events: what happened and what was decided, as people follow it. Bounded, numbered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from supervisord_ng import limits
from supervisord_ng.core.effects import Note
from supervisord_ng.core.notes import event_of
from supervisord_ng.model.reports import Event, EventName
from supervisord_ng.runtime import clock


class Feed:
    """The last events of this daemon, and everyone who waits for the next.

    Args:
        node: name of this node.
        on_event: called with each event when it is published.
    """

    def __init__(self, node: str, on_event: Callable[[Event], None]) -> None:
        self._node = node
        self._on_event = on_event
        self._events: deque[Event] = deque(maxlen=limits.EVENTS_KEPT)
        self._last = 0
        self._changed = asyncio.Event()

    def note(self, note: Note, report: str | None = None) -> None:
        """Publish what the core has to say. `report` is the id of the crash report about it."""
        self._publish(
            event_of(
                note,
                seq=self._last + 1,
                time=clock.wall_s(),
                node=self._node,
                pid=note.pid,
                report=report,
            )
        )

    def publish(
        self, event: EventName, path: str | None, incarnation: int | None, **details: Any
    ) -> None:
        """Number an event, stamp it, and wake up who follows."""
        self._publish(
            Event(
                seq=self._last + 1,
                time=clock.wall_s(),
                node=self._node,
                event=event,
                path=path,
                incarnation=incarnation,
                **details,
            )
        )

    def _publish(self, published: Event) -> None:
        self._last = published.seq
        self._events.append(published)
        self._on_event(published)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def stream(self, since: int | None, *, follow: bool) -> AsyncIterator[Event]:
        """Every kept event after number `since`, then, with `follow`, what comes.

        Without `since`: all that are kept, but only new ones for a follower, as tail -f has it.
        A follower that is slower than the bound on kept events misses some; the numbers show it.
        """
        seen = since if since is not None else self._last if follow else 0
        while True:
            changed = self._changed
            for event in [kept for kept in self._events if kept.seq > seen]:
                seen = event.seq
                yield event
            if not follow:
                return
            await changed.wait()
