"""The daemon's own log, on standard error: JSON lines for a service manager, plain lines for a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import msgspec
import structlog

from supervisord_ng.daemon.lines import Lines

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def make_logger(
    level: Literal["debug", "info", "warning", "error"], form: Literal["auto", "json", "console"]
) -> Any:
    """Make the logger. "auto" is "console" on a terminal and "json" elsewhere."""
    if form == "auto":
        form = "console" if sys.stderr.isatty() else "json"
    renderer: Any = structlog.processors.JSONRenderer(_as_json)
    if form == "console":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if form == "json" else _unchanged,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_Logger,
        cache_logger_on_first_use=True,
    )
    return structlog.get_logger()


class _Logger:
    """What structlog hands finished lines to, whatever their level."""

    def __init__(self, *_: object) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = Lines(2).write


def _as_json(event: dict[str, Any], **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _unchanged(_: Any, __: str, event: Any) -> Any:
    return event
