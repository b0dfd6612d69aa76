"""Uncaught exceptions, of all threads: told to the supervisor, then shown as ever."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType

from supervisord_ng.wire.heartbeat import Crash


def crash_of(error: BaseException) -> Crash:
    """Describe an exception as its crash report shows it."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001 - whatever a foreign __str__ does, we report
        message = f"<{name} whose str() raised {type(broken).__name__}>"
    return Crash(name, message, "".join(traceback.format_exception(error)))


class Hooks:
    """`sys.excepthook` and `threading.excepthook`, each followed by the one before it."""

    def __init__(self, on_crash: Callable[[BaseException], None]) -> None:
        self._on_crash = on_crash
        self._previous = sys.excepthook
        self._previous_of_threads = threading.excepthook
        sys.excepthook = self._main
        threading.excepthook = self._thread

    def restore(self) -> None:
        """Put the earlier hooks back, unless somebody else has replaced ours meanwhile."""
        if sys.excepthook == self._main:
            sys.excepthook = self._previous
        if threading.excepthook == self._thread:
            threading.excepthook = self._previous_of_threads

    def _main(
        self, kind: type[BaseException], error: BaseException, tb: TracebackType | None
    ) -> None:
        self._on_crash(error)
        self._previous(kind, error, tb)

    def _thread(self, args: threading.ExceptHookArgs) -> None:
        # SystemExit in a thread ends that thread, quietly: threading.excepthook ignores it too.
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            self._on_crash(args.exc_value)
        self._previous_of_threads(args)
