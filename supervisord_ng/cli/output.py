"""How ``sng`` speaks: lines and tables for people, JSON for programs, complaints on standard error.

Nothing slow is imported: `sng status` goes through here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Self

import click

STYLES = {
    "good": "\x1b[32m",
    "bad": "\x1b[31m",
    "busy": "\x1b[33m",
    "title": "\x1b[1m",
    "dim": "\x1b[2m",
    "plain": "",
}
_RESET = "\x1b[0m"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Cell(str):
    """A cell of a table that has a style of its own."""

    __slots__ = ("style",)

    style: str

    def __new__(cls, text: str, style: str) -> Self:
        """`style` is a key of STYLES."""
        cell = super().__new__(cls, text)
        cell.style = style
        return cell


def say(text: str, style: str = "plain") -> None:
    """Print one line."""
    colour = wants_colour()
    click.echo(styled(text, style, colour=colour), color=colour)


def complain(problem: object) -> None:
    """Say on standard error what went wrong."""
    click.echo(f"sng: {problem}", err=True)


def print_json(value: Any) -> None:
    """Print one JSON document: on one line for programs, indented on a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, ensure_ascii=False, indent=indent))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with aligned columns; the first row is the heading."""
    click.echo("\n".join(table(rows)), color=wants_colour())


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with aligned columns, in colour where that is wanted; the first row is the heading."""
    colour = wants_colour()
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            styled(
                cell.ljust(width), cell.style if isinstance(cell, Cell) else "plain", colour=colour
            )
            for cell, width in zip(row, widths, strict=True)
        ]
        line = "  ".join(cells).rstrip()
        lines.append(line if number else styled(line, "dim", colour=colour))
    return lines


def styled(text: str, style: str, *, colour: bool) -> str:
    """`text` in a style of STYLES, if colour is wanted."""
    code = STYLES[style]
    return f"{code}{text}{_RESET}" if colour and code else text


def wants_colour() -> bool:
    """Colour on a terminal, and where FORCE_COLOR asks; never against NO_COLOR (no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def uptime(seconds: float | None) -> str:
    """Write a length of time as supervisorctl does: "0:03:11", "3 days, 4:05:06"."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    days, rest = divmod(whole, _DAY_S)
    hours, rest = divmod(rest, _HOUR_S)
    clock = f"{hours}:{rest // _MINUTE_S:02}:{rest % _MINUTE_S:02}"
    if not days:
        return clock
    return f"{days} day{'' if days == 1 else 's'}, {clock}"


def printable(text: str) -> str:
    """`text` with everything written out that would do more to a terminal than print."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
