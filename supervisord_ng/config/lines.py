"""On which line a key of a TOML file stands. The parser (tomli) does not tell.

Only for text that tomli has accepted: this scanner knows where statements, keys and values begin and end,
not what they mean, so it can be small. Keys inside of an inline table or an array have the line of the key
that holds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import tomli

Path = tuple[str, ...]

# No possessive quantifiers: those of groups match wrongly before Python 3.11.5 (gh-106052). Nothing is lost:
# on a document that tomli has accepted these patterns never fail, so that they never look back.
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]+|\\.|"{1,2}(?!"))*"{3,5}'  # up to two quotes may stand before the closing ones
    r"|'''(?:[^']+|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]+|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_REST = re.compile(r"""[^"'#\[\]{}\n]+""")
_COMMENT = re.compile(r"#[^\n]*")


def locate(text: str) -> Mapping[Path, int]:
    """The first line, counted from 1, of every table header and key of a valid TOML document."""
    return _Scanner(text).run()


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of `path`, or of the nearest key or table that holds it; None for the whole document."""
    for length in range(len(path), 0, -1):
        if (line := lines.get(path[:length])) is not None:
            return line
    return None


class _Scanner:
    """One pass over a document; `position` only ever grows."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.line = 1
        self.stated: dict[Path, int] = {}  # headers and keys
        self.implied: dict[
            Path, int
        ] = {}  # tables that exist because a header or key goes through them

    def run(self) -> Mapping[Path, int]:
        table: Path = ()
        self.skip(_BLANK)
        while self.position < len(self.text):
            line = self.line
            if self.text[self.position] == "[":
                table = self.header()
                self.note(table, line)
            else:
                key = self.key()
                self.position += 1  # the equals sign
                self.note(table + key, line)
                self.skip_value()
            self.skip(_BLANK)
        return self.implied | self.stated

    def note(self, path: Path, line: int) -> None:
        self.stated.setdefault(path, line)
        for length in range(1, len(path)):
            self.implied.setdefault(path[:length], line)

    def header(self) -> Path:
        brackets = 2 if self.text.startswith("[[", self.position) else 1
        self.position += brackets
        path = self.key()
        self.position += brackets
        return path

    def key(self) -> Path:
        """A key, dotted or not, and the blanks behind it."""
        parts = []
        while True:
            self.skip(_SPACE)
            start = self.position
            bare = _BARE.match(self.text, start)
            self.skip(_BARE if bare else _STRING)
            written = self.text[start : self.position]
            parts.append(written if bare else tomli.loads(f"key = {written}")["key"])
            self.skip(_SPACE)
            if not self.text.startswith(".", self.position):
                return tuple(parts)
            self.position += 1

    def skip_value(self) -> None:
        """A value ends with its line, unless a bracket is open or the line end is inside of a string."""
        depth = 0
        while self.position < len(self.text):
            character = self.text[self.position]
            if character == "\n" and depth == 0:
                return
            if character in "\"'":
                self.skip(_STRING)
            elif character == "#":
                self.skip(_COMMENT)
            elif character in "[]{}\n":
                depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(character, 0)
                self.advance(self.position + 1)
            else:
                self.skip(_REST)

    def skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.position)
        assert found, f"not the TOML that tomli accepts, line {self.line}"
        self.advance(found.end())

    def advance(self, end: int) -> None:
        self.line += self.text.count("\n", self.position, end)
        self.position = end
