"""Sections and keys of an INI file with the lines where they stand, which configparser does not tell."""

from __future__ import annotations

from typing import NamedTuple

from supervisord_ng.errors import SupervisordNGError


class Entry(NamedTuple):
    """One key of a section."""

    line: int
    key: str
    value: str

    @property
    def text(self) -> str:
        """As it stood there, on one line."""
        return f"{self.key} = {' '.join(self.value.split())}"


class Section(NamedTuple):
    """One section; `line` is that of its head."""

    line: int
    name: str
    entries: list[Entry]


def read(path: str, text: str) -> list[Section]:
    """Read a file in the dialect of supervisord and circus: `;` and `#` begin comments, also after a blank.

    A line that is indented goes on with the value before it.

    Raises:
        SupervisordNGError: a line is none of these, or stands before the first section.
    """
    sections: list[Section] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = _without_comment(raw.rstrip())
        if not line.strip():
            continue
        if line.startswith("[") and line.endswith("]"):
            sections.append(Section(number, line[1:-1].strip(), []))
        elif sections and line[0].isspace() and sections[-1].entries:
            entries = sections[-1].entries
            entries[-1] = entries[-1]._replace(value=f"{entries[-1].value}\n{line.strip()}")
        else:
            key, found = _split(line)
            if not sections or key is None:
                raise SupervisordNGError(
                    f"cannot import {path}: line {number} is no key: {line.strip()}"
                )
            sections[-1].entries.append(Entry(number, key, found))
    return sections


def _without_comment(line: str) -> str:
    if line.lstrip().startswith(("#", ";")):
        return ""
    for mark in (" ;", "\t;"):
        line = line.partition(mark)[0]
    return line.rstrip()


def _split(line: str) -> tuple[str | None, str]:
    """At the first `=` or `:`."""
    places = [place for place in (line.find("="), line.find(":")) if place > 0]
    if not places:
        return None, ""
    place = min(places)
    return line[:place].strip().lower(), line[place + 1 :].strip()
