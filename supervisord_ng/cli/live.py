"""A view that goes on: over the whole terminal, or one after the other into a pipe. Ends with Ctrl-C."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from supervisord_ng.cli.output import wants_colour
from supervisord_ng.errors import SupervisordNGError
from supervisord_ng.limits import STATUS_LIVE_S

# Of every terminal since the VT100 and xterm: another screen, no cursor, long lines cut; and back.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"


def show_live(
    fetch: Callable[[], dict[str, Any]], lines: Callable[[dict[str, Any]], Sequence[str]] | None
) -> None:
    """Show what `fetch` gives, every `limits.STATUS_LIVE_S` seconds, until Ctrl-C.

    A daemon that is away is said to be, and asked again: who watches an upgrade wants to see its end.

    Args:
        fetch: asks the daemon.
        lines: what people see of the answer; None for JSON, one object a line.
    """
    on_terminal = lines is not None and sys.stdout.isatty()
    if on_terminal:
        click.echo(_ENTER, nl=False, color=True)
    try:
        while True:
            try:
                text = _shown(fetch(), lines)
            except SupervisordNGError as error:
                text = json.dumps({"error": str(error)}) if lines is None else f"sng: {error}"
            if on_terminal:
                click.echo(_screen(text), nl=False, color=True)
            else:
                click.echo(text if lines is None else f"{text}\n", color=wants_colour())
            time.sleep(STATUS_LIVE_S)
    except KeyboardInterrupt:
        pass  # the way to end it
    finally:
        if on_terminal:
            click.echo(_LEAVE, nl=False, color=True)


def _shown(answer: dict[str, Any], lines: Callable[[dict[str, Any]], Sequence[str]] | None) -> str:
    return json.dumps(answer, ensure_ascii=False) if lines is None else "\n".join(lines(answer))


def _screen(text: str) -> str:
    """All in one piece and over what stood there, so that nothing flickers."""
    height = shutil.get_terminal_size().lines
    lines = text.split("\n")[:height]
    return _HOME + "\r\n".join(f"{line}{_REST_OF_LINE}" for line in lines) + _REST
