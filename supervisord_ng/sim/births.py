"""The notes of starts that a simulated daemon leaves behind, as `runtime.births` keeps them in small files."""

from __future__ import annotations

from typing import NamedTuple

from supervisord_ng import limits


class Birth(NamedTuple):
    """A start. `pid` is 0 as long as nobody knows whether there is a process."""

    incarnation: int
    pid: int = 0


class Births:
    """Of all workers of a node; nothing of it is lost when the daemon is killed."""

    def __init__(self) -> None:
        self._slots: dict[str, dict[int, Birth]] = {}

    def note(self, path: str, birth: Birth) -> None:
        """Remember a start, in the place of one that is long past."""
        self._slots.setdefault(path, {})[birth.incarnation % limits.BIRTHS_KEPT] = birth

    def after(self, path: str, incarnation: int) -> list[Birth]:
        """The starts after this incarnation, in their order."""
        known = sorted(self._slots.get(path, {}).values())
        return [birth for birth in known if birth.incarnation > incarnation]

    def last(self) -> dict[str, int]:
        """The highest number noted, by path."""
        return {path: max(slots.values()).incarnation for path, slots in self._slots.items()}

    def forget(self, path: str) -> None:
        """The worker is no longer in the tree."""
        self._slots.pop(path, None)
