"""Who is who: names of a scenario, paths and incarnations of the core, ``name#n`` between.

``a#2`` is the second successful start of a over the whole scenario, whatever the core's incarnation
number is: failed starts use one up there and none here. A `Handle` is what a pid is to Erlang.
"""

from __future__ import annotations

import msgspec

from supervisord_ng.model import names


class Handle(msgspec.Struct, frozen=True):
    """One successful start of a worker or a supervisor."""

    name: str
    number: int
    path: str
    incarnation: int

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"


class Roster:
    """Every handle there was, which of them live, and the last one of each name."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # path -> name in the scenario, where the two differ
        self._counts: dict[str, int] = {}
        self._handles: dict[tuple[str, int], Handle] = {}
        self._last: dict[str, Handle] = {}
        self._alive: set[Handle] = set()

    def bind(self, path: str, name: str) -> None:
        """Say what the child with this path is called in the scenario."""
        self._names[path] = name

    def name(self, path: str) -> str:
        """What the child is called in the scenario; its id when nobody said otherwise."""
        return self._names.get(path, names.leaf(path))

    def path(self, name: str) -> str | None:
        """Where the child of this name stands in the tree; None when nobody said so."""
        return next((path for path, bound in self._names.items() if bound == name), None)

    def started(self, path: str, incarnation: int) -> Handle:
        """Count a successful start."""
        name = self.name(path)
        number = self._counts.get(name, 0) + 1
        self._counts[name] = number
        handle = Handle(name, number, path, incarnation)
        self._handles[path, incarnation] = handle
        self._last[name] = handle
        self._alive.add(handle)
        return handle

    def ended(self, handle: Handle) -> None:
        """Note that it lives no longer."""
        self._alive.discard(handle)

    def find(self, path: str, incarnation: int) -> Handle | None:
        """The handle of this incarnation; None when it never started."""
        return self._handles.get((path, incarnation))

    def last(self, name: str) -> Handle | None:
        """The last successful start of this name (the oracle's idea of "the pid of a")."""
        return self._last.get(name)

    def is_alive(self, handle: Handle | None) -> bool:
        """Say whether it has started and not ended."""
        return handle in self._alive

    def forget_paths(self) -> None:
        """A new tree is about to boot: its paths and incarnations begin anew, the numbers go on."""
        self._handles.clear()
        self._alive.clear()
