"""Where in which file something stands, and the list in which problems and warnings are gathered."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from supervisord_ng.config.explain import RefusedError, dotted, refusal
from supervisord_ng.config.lines import Path, line_of
from supervisord_ng.errors import Problem


class Source(msgspec.Struct, frozen=True):
    """One file that was read. `order` is its number; problems are told in the order of their files."""

    shown: str  # as the user named it, or as the include pattern found it
    path: str  # absolute
    order: int
    lines: Mapping[Path, int] = {}


class Place(msgspec.Struct, frozen=True):
    """A table or key of one file."""

    source: Source
    path: Path

    @property
    def key(self) -> str:
        """The key as it would be written: ``worker.web.restart``."""
        return dotted(self.path)

    @property
    def line(self) -> int | None:
        """Counted from 1; None for the file as a whole."""
        return line_of(self.source.lines, self.path)

    def below(self, *parts: str) -> Place:
        """The place of a key inside of this table."""
        return Place(self.source, self.path + parts)

    def __str__(self) -> str:
        line = self.line
        return self.source.shown if line is None else f"{self.source.shown}:{line}"


class Notes:
    """Problems and warnings, gathered in any order and told in that of the files.

    What comes from the defaults is told once, about the first table that it spoils, not about every one.
    """

    def __init__(self) -> None:
        self._problems: list[_Entry] = []
        self._warnings: list[_Entry] = []
        self._told_of_defaults: set[tuple[Path, str]] = set()

    def problem(self, place: Place, text: str, key: str | None = None) -> None:
        """Add a reason to refuse the configuration.

        Args:
            place: where to look.
            text: what is wrong, without the key.
            key: the key by another name than that of the place.
        """
        self._add(self._problems, place, text, key)

    def warning(self, place: Place, text: str, key: str | None = None) -> None:
        """Add something that works as written, but hardly as meant. See `problem`."""
        self._add(self._warnings, place, text, key)

    def refused(self, place: Place, value: object, refused: RefusedError) -> None:
        """Add the problems about the value of one key: one, or one for each wrong item of an array."""
        for one in (refused, *refused.more):
            self.problem(place, refusal(value, one), f"{place.key}{one.at}")

    def problem_at(self, source: Source, line: int | None, message: str) -> None:
        """Add a problem of a file that has no keys, or is no TOML."""
        self._problems.append(_entry(source, line, message))

    def warning_at(self, source: Source, line: int | None, message: str) -> None:
        """Add a warning about a file that has no keys."""
        self._warnings.append(_entry(source, line, message))

    def _add(self, entries: list[_Entry], place: Place, text: str, key: str | None) -> None:
        if place.path[:1] == ("defaults",):
            if (place.path, text) in self._told_of_defaults:
                return
            self._told_of_defaults.add((place.path, text))
        key = key or place.key
        entries.append(_entry(place.source, place.line, f"{key}: {text}" if key else text))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem, by file and line; those of one line as they were found."""
        return _sorted(self._problems)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Every warning, in the same order."""
        return _sorted(self._warnings)


_Entry = tuple[int, int, Problem]


def _entry(source: Source, line: int | None, message: str) -> _Entry:
    return source.order, line or 0, Problem(source.shown, line, message)


def _sorted(entries: list[_Entry]) -> tuple[Problem, ...]:
    return tuple(problem for _, _, problem in sorted(entries, key=lambda entry: entry[:2]))
