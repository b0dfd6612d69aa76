"""Virtual time: what is to happen in a simulated world, by when and in which order it was planned.

What is due at the same instant happens in the order in which it was planned, so a world that plans
everything here is deterministic. Time moves only by `take`, `pass_to` and never backwards.
"""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")
Planned_contra = TypeVar("Planned_contra", contravariant=True)


class Planner(Protocol[Planned_contra]):
    """Who takes plans; nobody but who plays the history takes them up again."""

    @property
    def now(self) -> int:
        """The simulated time, in nanoseconds."""
        ...

    def after(self, delay_ns: int, item: Planned_contra, /) -> None:
        """Plan an item for `delay_ns` from now."""
        ...


class Agenda(Generic[Item]):
    """A clock in nanoseconds and a queue of items, each due at its time."""

    def __init__(self, now: int) -> None:
        self.now = now
        self._planned = 0  # breaks ties: first planned, first done
        self._heap: list[tuple[int, int, Item]] = []

    def soon(self, item: Item) -> None:
        """Plan an item for this very instant, behind everything planned for it already."""
        self.after(0, item)

    def after(self, delay_ns: int, item: Item) -> None:
        """Plan an item for `delay_ns` (not negative) from now."""
        assert delay_ns >= 0, f"nothing can be planned for the past: {item!r}"
        self._planned += 1
        heapq.heappush(self._heap, (self.now + delay_ns, self._planned, item))

    def next_at(self) -> int | None:
        """When the next item is due, None when nothing is planned."""
        return self._heap[0][0] if self._heap else None

    def take(self) -> Item:
        """Let time pass until the next item is due and take that item."""
        due, _, item = heapq.heappop(self._heap)
        self.pass_to(due)
        return item

    def pass_to(self, when: int) -> None:
        """Let time pass until `when`; does nothing when that has been."""
        self.now = max(self.now, when)

    def clear(self) -> None:
        """Forget everything planned."""
        self._heap.clear()
