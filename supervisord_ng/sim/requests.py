"""The books about calls and reloads: who waits for an answer, and what the daemon does on whose behalf."""

from __future__ import annotations

from collections.abc import Container

from supervisord_ng.core import effects, events
from supervisord_ng.core.memory import NOBODY
from supervisord_ng.model import names
from supervisord_ng.sim.copies import copied
from supervisord_ng.sim.trace import describe

_STARTS = {"start_child", "restart_child", "renew_child"}


class Requests:
    """Of one history. When the daemon is killed nobody waits any more, and what was under way goes on."""

    def __init__(self) -> None:
        self._calls: dict[int, events.Call] = {}  # that nobody has answered yet
        self._orphans: dict[int, events.Call] = {}  # under way when a daemon was killed
        self._reloads: set[int] = set()  # that nobody has answered yet
        self._reloads_on = False  # one was under way when a daemon was killed

    def copy(self) -> Requests:
        """The books as they are now."""
        return copied(self)

    def orphaned(self, under_way: Container[int], *, edited: bool) -> None:
        """Another daemon goes on; of the calls it carries these out, and answers nobody.

        When the file was edited meanwhile, it acts on that as on a reload.
        """
        self._reloads_on = self._reloads_on or edited or bool(self._reloads)
        self._orphans |= {n: call for n, call in self._calls.items() if n in under_way}
        self._calls.clear()
        self._reloads.clear()

    def called(self, call: events.Call) -> None:
        """An operator waits for the answer."""
        self._calls[call.request] = call

    def reloaded(self, request: int) -> None:
        """Somebody waits until the tree is as the file says."""
        self._reloads.add(request)

    def answered(self, reply: effects.Reply) -> events.Call | None:
        """The call that this answers; None when nobody has called."""
        if reply.request != NOBODY:
            return self._calls.pop(reply.request, None)
        number = next((n for n, c in self._orphans.items() if _child(c) == reply.path), None)
        return None if number is None else self._orphans.pop(number)

    def reload_answered(self, request: int) -> bool:
        """Whether somebody waits for this."""
        known = request in self._reloads
        self._reloads.discard(request)
        return known

    @property
    def reloading(self) -> bool:
        """Whether a reload may be the reason for what happens."""
        return bool(self._reloads) or self._reloads_on

    def starting(self, path: str) -> list[events.Call]:
        """The calls because of which this child may start."""
        return [call for call in self._all() if call.op in _STARTS and _child(call) == path]

    def hurries(self, supervisor: str) -> bool:
        """Whether a pending restart may be hurried below this supervisor."""
        return any(
            (call.now or call.op == "renew_child") and call.path == supervisor
            for call in self._all()
        )

    def unanswered(self) -> list[str]:
        """All that nobody has answered yet, as words."""
        reloads = [f"reload {request}" for request in sorted(self._reloads)]
        return [*map(describe, self._calls.values()), *reloads]

    def _all(self) -> list[events.Call]:
        return [*self._orphans.values(), *self._calls.values()]


def _child(call: events.Call) -> str:
    return names.join(call.path, call.name)
