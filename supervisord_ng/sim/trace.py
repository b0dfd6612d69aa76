"""One line for each step of a history: when, what happened, what the core asked for.

Two runs of one seed give the same bytes; `digest` is what tests compare when nobody reads the lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from supervisord_ng import limits
from supervisord_ng.core.effects import Effect
from supervisord_ng.core.events import Event
from supervisord_ng.model.exits import ExitReason


class Trace:
    """The lines of one history, printed as they come when `verbose`."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """A hash of all lines so far."""
        return self._hash.hexdigest()

    def step(self, now: int, what: str, asked: Iterable[Effect]) -> None:
        """Write the line of one step."""
        tail = "".join(f"\n    {describe(effect)}" for effect in asked)
        self.say(f"{now / limits.SECOND:.9f} {what}{tail}")

    def say(self, line: str) -> None:
        """Write a line."""
        self._hash.update(line.encode() + b"\n")
        if self._verbose:
            print(line)


def describe(value: Event | Effect) -> str:
    """An event or effect as a few words: its type, and those of its fields that say something."""
    words = [type(value).__name__]
    for field, default in zip(value.__struct_fields__, _defaults(value), strict=True):
        content = getattr(value, field)
        if content == default:
            continue
        if isinstance(content, ExitReason):
            content = content.text
        elif isinstance(content, msgspec.Struct):
            content = getattr(content, "name", type(content).__name__)
        words.append(str(content) if field == "path" else f"{field}={content}")
    return " ".join(words)


def _defaults(value: Event | Effect) -> tuple[object, ...]:
    """The defaults of all fields; a field without one has a value that equals nothing."""
    known = value.__struct_defaults__
    missing = len(value.__struct_fields__) - len(known)
    return (*(object() for _ in range(missing)), *known)
