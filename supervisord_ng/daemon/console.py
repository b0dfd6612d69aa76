"""The terminal of ``sng run``: the workers' output, prefixed and coloured, and what the supervisors decide.

Like a Procfile runner.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from supervisord_ng import limits
from supervisord_ng.daemon.lines import Lines
from supervisord_ng.model import names
from supervisord_ng.model.reports import Event
from supervisord_ng.model.spec import SupervisorSpec
from supervisord_ng.model.words import describe, is_quiet, mood

_RESET, _DIM, _BOLD = "\x1b[0m", "\x1b[2m", "\x1b[1m"
_MOODS = {"good": "\x1b[32m", "bad": "\x1b[1;31m", "plain": "\x1b[1m", "dim": _DIM}
_COLOURS = tuple(f"\x1b[{code}m" for code in (36, 33, 35, 34, 96, 93, 95, 94))
_CONTROLS = {code: "?" for code in (*range(32), *range(127, 160)) if code != 9}


class Console:
    """Prints lines, each begun with time and name.

    Args:
        fd: where to, a descriptor.
        colour: whether to colour.
        width: of the column of names.
    """

    def __init__(self, fd: int, *, colour: bool, width: int) -> None:
        self._lines = Lines(fd)
        self._colour = colour
        self._width = max(width, len("daemon"))
        self._given: dict[str, str] = {}

    @staticmethod
    def wants_colour(fd: int, environ: Mapping[str, str]) -> bool:
        """Colour on a terminal, and where FORCE_COLOR asks; never against NO_COLOR (no-color.org)."""
        if environ.get("NO_COLOR"):
            return False
        return bool(environ.get("FORCE_COLOR")) or os.isatty(fd)

    def output(self, name: str, lines: list[bytes]) -> None:
        """What a worker wrote."""
        for line in lines:
            text = line.decode(errors="replace").translate(_CONTROLS)
            self._print(name, f"| {text}")

    def event(self, event: Event) -> None:
        """What happened and was decided."""
        if is_quiet(event):
            return
        name = names.leaf(event.path) if event.path is not None else "daemon"
        text = describe(event)
        colour = _MOODS[mood(event)]
        self._print(name, f"* {colour}{text}{_RESET}" if self._colour else f"* {text}")

    def say(self, text: str) -> None:
        """The daemon's own words."""
        self._print("daemon", f"* {_BOLD}{text}{_RESET}" if self._colour else f"* {text}")

    def _print(self, name: str, text: str) -> None:
        now = time.strftime("%H:%M:%S")
        label = f"{name:<{self._width}}"
        if self._colour:
            label = f"{_DIM}{now}{_RESET} {self._colour_of(name)}{label}{_RESET}"
        else:
            label = f"{now} {label}"
        self._lines.write(f"{label} {text}")

    def _colour_of(self, name: str) -> str:
        if name not in self._given:
            self._given[name] = _COLOURS[len(self._given) % len(_COLOURS)]
        return self._given[name]


def tree_width(longest: int) -> int:
    """A width for the column of names that fits most."""
    return min(longest, limits.CONSOLE_NAME_WIDTH_MAX)


def longest_name(spec: SupervisorSpec) -> int:
    """The length of the longest name in a tree."""
    lengths = [len(spec.name)]
    for child in spec.children:
        below = longest_name(child) if isinstance(child, SupervisorSpec) else len(child.name)
        lengths.append(below)
    return max(lengths)
