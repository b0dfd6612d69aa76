r"""The syntax of an environment file, as systemd.exec(5) describes it under EnvironmentFile=.

Lines of NAME=VALUE; blank lines and lines that begin with '#' or ';' are nothing. A value may be in quotes:
single ones take everything as it is, double ones know the escapes of a shell for '"', '\\', '`' and '$'. Both
may span lines. Without quotes a backslash takes the next character as it is and continues a line; blanks at
both ends are dropped. Nothing is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

_NOTHING = re.compile(r"(?:\s+|[#;][^\n]*)*")
_NAME = re.compile(r"[^=\n]*")
_BLANKS = re.compile(r"[ \t]*")
_SINGLE = re.compile(r"'([^']*)'?")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)\\?"?', re.DOTALL)
_ESCAPED_IN_DOUBLE = re.compile(r'\\(?:(["\\`$])|\n)')
_BARE_TOKEN = re.compile(r"(?P<escape>\\(?:(?P<kept>[^\n])|\n|$))|(?P<blanks>[ \t]+)|[^\\ \t\n]+")


class Line(msgspec.Struct, frozen=True):
    """One assignment, or a line that is none: `name` is then None. `number` counts from 1."""

    number: int
    name: str | None
    value: str = ""


def parse_lines(text: str) -> Iterator[Line]:
    """Yield every assignment of an environment file, and every line that was meant to be one."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    position, number, counted = 0, 1, 0
    while (position := _skip(_NOTHING, text, position)) < len(text):
        number += text.count("\n", counted, position)
        counted = position
        start, position = position, _skip(_NAME, text, position)
        if not text.startswith("=", position):
            yield Line(number, None)
            continue
        name = text[start:position].rstrip()
        value, position = _value(text, position + 1)
        yield Line(number, name, value)


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return position if found is None else found.end()


def _value(text: str, position: int) -> tuple[str, int]:
    """The value that begins at `position`, and where it ends. Quoted parts in front are joined."""
    value = ""
    while True:
        position = _skip(_BLANKS, text, position)
        if single := _SINGLE.match(text, position):
            value += single[1]
            position = single.end()
        elif double := _DOUBLE.match(text, position):
            value += _ESCAPED_IN_DOUBLE.sub(lambda found: found[1] or "", double[1])
            position = double.end()
        else:
            bare, position = _bare(text, position)
            return value + bare, position


def _bare(text: str, position: int) -> tuple[str, int]:
    value, kept = "", 0  # `kept`: up to here no blank may be dropped
    while token := _BARE_TOKEN.match(text, position):
        position = token.end()
        if token["escape"]:
            value += token["kept"] or ""
        else:
            value += token[0]
        if not token["blanks"]:
            kept = len(value)
    return value[:kept], position
