"""Words for the daemon's log about what others do wrong: said, but never as often as they do it."""

from __future__ import annotations

from collections.abc import Callable

from supervisord_ng import limits
from supervisord_ng.runtime import clock


class Troubles:
    """Says what goes wrong, each kind of trouble at most once in REJECTED_LOG_INTERVAL_NS.

    Args:
        log: takes a line.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._told: dict[str, tuple[int, int]] = {}  # kind to when, and how many since

    def say(self, kind: str, text: str) -> None:
        """Say it, unless the same kind was said just now. There must be few kinds."""
        now = clock.monotonic_ns()
        when, unsaid = self._told.get(kind, (None, 0))
        if when is not None and now - when < limits.REJECTED_LOG_INTERVAL_NS:
            self._told[kind] = (when, unsaid + 1)
            return
        self._told[kind] = (now, 0)
        self._log(f"{text} ({unsaid} more since the last such message)" if unsaid else text)
