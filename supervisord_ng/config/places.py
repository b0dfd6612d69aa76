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
    """Problems and warnings, gathered in any order and told in that of the files."""

    def __init__(self) -> None:
        self._problems: list[tuple[int, int, Problem]] = []
        self._warnings: list[tuple[int, int, Problem]] = []

    def problem(self, place: Place, message: str) -> None:
        """Add a reason to refuse the configuration."""
        self._problems.append(_entry(place.source, place.line, message))

    def refused(self, place: Place, value: object, refused: RefusedError) -> None:
        """Add the problems about the value of one key: one, or one for each wrong item of an array."""
        for one in (refused, *refused.more):
            self.problem(place, refusal(place.key, value, one))

    def problem_at(self, source: Source, line: int | None, message: str) -> None:
        """Add a problem of a file that has no keys, or is no TOML."""
        self._problems.append(_entry(source, line, message))

    def warning(self, place: Place, message: str) -> None:
        """Add something that works as written, but hardly as meant."""
        self._warnings.append(_entry(place.source, place.line, message))

    def warning_at(self, source: Source, line: int | None, message: str) -> None:
        """Add a warning about a file that has no keys."""
        self._warnings.append(_entry(source, line, message))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem, by file and line; those of one line as they were found."""
        return _sorted(self._problems)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Every warning, in the same order."""
        return _sorted(self._warnings)


def _entry(source: Source, line: int | None, message: str) -> tuple[int, int, Problem]:
    return source.order, line or 0, Problem(source.shown, line, message)


def _sorted(entries: list[tuple[int, int, Problem]]) -> tuple[Problem, ...]:
    return tuple(problem for _, _, problem in sorted(entries, key=lambda entry: entry[:2]))
