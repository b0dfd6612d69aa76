"""What the books know of one supervisor, from what it said."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from supervisord_ng.model.spec import SupervisorSpec


class Watched(msgspec.Struct):
    """One supervisor. `order` is the start order of its children."""

    spec: SupervisorSpec
    order: list[str]
    alive: bool = False
    booting: bool = False
    edited: bool = False  # since it boots: whom it has started stands where the file says now
    vague: bool = False  # by which specification it runs is not followed
    leaving: bool = False
    restarts: list[int] = []
    delayed: set[str] = set()  # children whose restart waited, or waits, or was hurried
    by_call: set[str] = set()  # children that an operator started

    def copy(self) -> Watched:
        """As it is now."""
        return replace(
            self,
            order=list(self.order),
            restarts=list(self.restarts),
            delayed=set(self.delayed),
            by_call=set(self.by_call),
        )

    def forgotten(self) -> set[str]:
        """Those whom the specification names and who have no place in the tree any more."""
        return {child.name for child in self.spec.children} - set(self.order)

    def boots(self) -> None:
        """Everything begins anew."""
        self.alive = self.booting = True
        self.leaving = self.edited = False
        self.restarts = []
        self.delayed = set()
        self.by_call = set()
        self.order = [child.name for child in self.spec.children]

    def respecified(self, spec: SupervisorSpec) -> None:
        """A file was edited. In which order its children stand now is not followed."""
        names_now = [child.name for child in spec.children]
        others = [name for name in self.order if name not in names_now]
        self.spec, self.order, self.edited, self.vague = spec, names_now + others, True, False
        if spec.intensity is not None and len(self.restarts) > spec.intensity:
            self.restarts = self.restarts[len(self.restarts) - spec.intensity :]

    def count(self, now: int) -> int:
        """One more restart; how many there are in the period now."""
        self.restarts = [*self._kept(now), now]
        return len(self.restarts)

    def in_window(self, now: int) -> int:
        """How many restarts count at `now`."""
        return len(self._kept(now))

    def _kept(self, now: int) -> list[int]:
        """The restarts that count at `now`; what was too old once does not count under a longer period."""
        return [then for then in self.restarts if then >= now - self.spec.period_ns]


class Supervisors(dict[str, Watched]):
    """All supervisors by path."""

    def copy(self) -> Supervisors:
        """All as they are now."""
        return Supervisors((path, one.copy()) for path, one in self.items())
