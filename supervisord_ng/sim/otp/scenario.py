"""The lines of a scenario file: declarations, and the book that holds them.

A declaration may stand between commands and then replaces an earlier one of the same name, which
keeps its place: children of a supervisor stand in the order of their lines. Knows nothing of the
core.
"""

from __future__ import annotations

from typing import Literal

import msgspec

DECLARATIONS = frozenset({"sup", "child", "spec", "undeclare", "trace", "unordered"})
"""The first words of lines that are not echoed into the trace."""

SIMPLE = "simple_one_for_one"


class Declaration(msgspec.Struct, frozen=True):
    """One ``sup``, ``child`` or ``spec`` line. `keys` are its words as they stand there."""

    name: str
    kind: Literal["sup", "child"]
    keys: dict[str, str]

    @property
    def parent(self) -> str | None:
        """The supervisor that it is declared under, None for the root and for specs."""
        return self.keys.get("parent")

    @property
    def id(self) -> str:
        """The child's id, by which its supervisor knows it."""
        return self.keys.get("id", self.name)

    @property
    def strategy(self) -> str:
        """The strategy of a supervisor."""
        return self.keys.get("strategy", "one_for_one")

    @property
    def child_type(self) -> str:
        """OTP's child type, on which the default of `shutdown` and count_children depend."""
        return self.keys.get("type", "supervisor" if self.kind == "sup" else "worker")


class Book:
    """All declarations that hold at the moment, in order, and what the options ask for."""

    def __init__(self) -> None:
        self.declarations: dict[str, Declaration] = {}
        self.options: set[str] = set()

    def read(self, words: list[str]) -> None:
        """Take in one declaration line."""
        match words:
            case [("sup" | "child" | "spec") as kind, name, *keys]:
                pairs = dict(_key_and_value(word) for word in keys)
                self.declarations[name] = Declaration(
                    name, "sup" if kind == "sup" else "child", pairs
                )
            case ["undeclare", name]:
                del self.declarations[name]
            case ["trace", *what]:
                self.options.update(what)
            case ["unordered"]:
                self.options.add("unordered")
            case _:
                raise ValueError(f"cannot read the declaration: {' '.join(words)}")

    def root(self) -> Declaration:
        """The first supervisor without a parent."""
        for declaration in self.declarations.values():
            if declaration.kind == "sup" and declaration.parent is None:
                return declaration
        raise ValueError("cannot boot: no supervisor without a parent is declared")

    def children(self, supervisor: str) -> list[Declaration]:
        """The static children of a supervisor in start order."""
        return [child for child in self.declarations.values() if child.parent == supervisor]

    def is_supervisor(self, name: str) -> bool:
        """Say whether a supervisor of this name is declared."""
        found = self.declarations.get(name)
        return found is not None and found.kind == "sup"

    def is_simple(self, name: str) -> bool:
        """Say whether this is a supervisor with the strategy simple_one_for_one."""
        found = self.declarations.get(name)
        return found is not None and found.kind == "sup" and found.strategy == SIMPLE


def statements(text: str) -> list[list[str]]:
    """Split a scenario into the words of its lines; comments and blank lines are left out."""
    lines = [line.split() for line in text.splitlines()]
    return [words for words in lines if words and not words[0].startswith("#")]


def _key_and_value(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"cannot read a key: {word!r} is not KEY=VALUE")
    return key, value
