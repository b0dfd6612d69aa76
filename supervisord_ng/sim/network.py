"""Pretend links between simulated nodes: they delay, lose, repeat, reorder, and may be cut.

What is sent is a value and arrives as the same value, or does not. A cut link loses everything, what is under
way too, as `ip link set down` does. Nothing here knows what is sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec

from supervisord_ng import limits

DELAY_NS = 20 * limits.MS  # of an ordinary frame
LATE_NS = 5 * limits.SECOND  # of one that is overtaken by many others


class LinkFaults(msgspec.Struct, frozen=True):
    """How likely each fault of a link is, per frame; what happens to links and daemons per second."""

    lost: float = 0.0
    repeated: float = 0.0
    late: float = 0.0
    cut: float = 0.0
    daemon_crash: float = 0.0
    daemon_stop: float = 0.0
    lag: float = 0.0
    daemon_killed: float = 0.0


NO_LINK_FAULTS = LinkFaults()
_MOST = LinkFaults(
    lost=0.3,
    repeated=0.3,
    late=0.3,
    cut=0.05,
    daemon_crash=0.03,
    daemon_stop=0.02,
    lag=0.05,
    daemon_killed=0.1,
)


def draw(chance: random.Random) -> LinkFaults:
    """Switch each fault on with a chance of one half, and then draw how likely it is (swarm testing)."""
    drawn = {
        name: chance.uniform(0.0, getattr(_MOST, name)) if chance.random() < 0.5 else 0.0
        for name in LinkFaults.__struct_fields__
    }
    return LinkFaults(**drawn)


class Network:
    """All links. `plan(delay_ns, act)` lets something happen later.

    A link is named by the node at its lower end.
    """

    def __init__(
        self,
        chance: random.Random,
        faults: LinkFaults,
        plan: Callable[[int, Callable[[], None]], None],
    ) -> None:
        self.faults = faults
        self._chance = chance
        self._plan = plan
        self._cut: set[str] = set()

    def send(self, link: str, deliver: Callable[[Any], None], value: Any) -> None:
        """Put a value on a link; `deliver` is called with it at the other end, once, twice or never."""
        chance = self._chance
        if link in self._cut or self._strikes(self.faults.lost):
            return
        times = 2 if self._strikes(self.faults.repeated) else 1
        for _ in range(times):
            most = LATE_NS if self._strikes(self.faults.late) else DELAY_NS
            self._plan(chance.randint(limits.MS, most), lambda: self._arrive(link, deliver, value))

    def cut(self, link: str) -> None:
        """Take the link down."""
        self._cut.add(link)

    def mend(self, link: str) -> None:
        """Take it up again."""
        self._cut.discard(link)

    def calm(self) -> None:
        """From now on every frame arrives."""
        self.faults = NO_LINK_FAULTS
        self._cut.clear()

    def _arrive(self, link: str, deliver: Callable[[Any], None], value: Any) -> None:
        if link not in self._cut:
            deliver(value)

    def _strikes(self, likely: float) -> bool:
        return likely > 0 and self._chance.random() < likely
