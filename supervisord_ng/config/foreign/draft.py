"""A tree that is being made out of a foreign configuration, and how it looks in TOML."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from supervisord_ng.config.foreign.ini import Section
from supervisord_ng.limits import NAME_LENGTH_MAX

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ALIEN = re.compile(r"[^A-Za-z0-9_.-]+")
_RESERVED = ("root", "all")


Found = dict[str, Any] | None
"""What a foreign key becomes: keys of a worker, none of them, or None: it can not be carried over."""


class Problem(NamedTuple):
    """A line that was not carried over, or not as it was."""

    line: int
    what: str
    why: str

    def __str__(self) -> str:
        """For a person."""
        return f"line {self.line}: {self.what}: {self.why}"


class Draft:
    """Tables of a tree file, in the order in which they are to be written.

    Args:
        origin: what it comes from, in a word.
        notes: comments for the top of the file: in what the two differ.
    """

    def __init__(self, origin: str, *notes: str) -> None:
        self.origin = origin
        self.notes = notes
        self.node: dict[str, Any] = {}
        self.root: dict[str, Any] = {}
        self.supervisors: dict[str, dict[str, Any]] = {}
        self.defaults: dict[str, Any] = {}
        self.workers: dict[str, dict[str, Any]] = {}
        self.problems: list[Problem] = []

    def say(self, line: int, what: str, why: str) -> None:
        """Note that a line was not carried over, or only in part."""
        self.problems.append(Problem(line, what, why))

    def name(self, line: int, wanted: str) -> str:
        """A legal name that is not taken yet, as much like `wanted` as can be."""
        name = _ALIEN.sub("-", wanted).lstrip("_.-")[:NAME_LENGTH_MAX] or "worker"
        taken = {*_RESERVED, *self.workers, *self.supervisors}
        number = 2
        legal = name
        while legal in taken:
            legal = f"{name[: NAME_LENGTH_MAX - 6]}-{number}"
            number += 1
        if legal != wanted:
            self.say(line, wanted, f"this name is not possible or taken here; now {legal}")
        return legal

    def share_no_log(self, table: dict[str, Any], section: Section, key: str) -> None:
        """Let each of several instances have its own log, and say so of the key that names one for all."""
        if "instances" in table and table.get("log", {}).pop("file", None) is not None:
            for entry in section.entries:
                if entry.key == key:
                    self.say(entry.line, entry.text, "each instance has a log of its own")

    def toml(self) -> str:
        """The tree file. What was not carried over stands at its top."""
        lines = [f"# From {self.origin}. Check it with `sng check`."]
        lines += [f"# {note}" for note in self.notes]
        if self.problems:
            lines += ["#", "# Not carried over:"]
            lines += [f"#   {_comment(str(problem))}" for problem in sorted(self.problems)]
        tables = {"node": self.node, "supervisor.root": self.root}
        tables |= {f"supervisor.{_key(name)}": table for name, table in self.supervisors.items()}
        tables["defaults.worker"] = self.defaults
        tables |= {f"worker.{_key(name)}": table for name, table in self.workers.items()}
        for name, table in tables.items():
            if table:
                lines += ["", f"[{name}]"]
                said = {key: found for key, found in table.items() if found != {}}
                lines += [f"{_key(key)} = {value(found)}" for key, found in said.items()]
        return "\n".join(lines) + "\n"


def number(key: str, text: str, needless: int | None = None) -> Found:
    """A key with a whole number; nothing where it has the value that it has anyway."""
    if not text.removeprefix("-").isdecimal():
        return None
    return {} if int(text) == needless else {key: int(text)}


def inside(key: str, found: Found) -> Found:
    """What was found as an inner table."""
    return found if not found else {key: found}


def merge(table: dict[str, Any], found: dict[str, Any]) -> None:
    """Add what was found to a table, inner tables key by key."""
    for key, one in found.items():
        table[key] = table.get(key, {}) | one if isinstance(one, dict) else one


def value(found: Any) -> str:
    """A value in TOML, on one line."""
    if isinstance(found, dict):
        pairs = ", ".join(f"{_key(key)} = {value(one)}" for key, one in found.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(found, list):
        return f"[{', '.join(map(value, found))}]"
    # TOML's basic strings are JSON's, but for DEL, which has to be escaped.
    return json.dumps(found, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else value(key)


def _comment(text: str) -> str:
    """On one line, with nothing in it that TOML refuses in a comment."""
    return "".join(char if char.isprintable() else " " for char in text)
