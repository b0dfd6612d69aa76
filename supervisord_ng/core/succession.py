"""Who was started in whose place, where the memory of an earlier daemon is behind: decided by numbers alone.

The shell says what it has found (which processes live, which starts were noted elsewhere than in the memory);
here is what follows for the numbers with which `machine.resume` goes on. The daemon and the simulator begin by
the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from supervisord_ng.core.memory import ChildMemory, Memory
from supervisord_ng.core.state import Phase


class Start(Protocol):
    """A start of a worker: what else is known of it is the shell's affair."""

    @property
    def incarnation(self) -> int:
        """Its number."""
        ...


S = TypeVar("S", bound=Start)


def last_seen(known: ChildMemory) -> int:
    """The last start of which the memory knows what came of it.

    Of one that was on its way it knows only the number; of those that were disowned that they are over.
    """
    return max(known.incarnation - (known.phase is Phase.SPAWNING), known.used)


def heirs(known: ChildMemory, noted: Iterable[S], running: S | None) -> list[S]:
    """Who was started after the last one that the memory has seen, in order: the last may run.

    Args:
        known: what the memory says of the worker, whose process is gone or was about to be started.
        noted: the starts after `last_seen` that were noted.
        running: the one that is seen to run.
    """
    after = list(noted)
    if running is not None and running.incarnation > last_seen(known):
        after = [start for start in after if start.incarnation < running.incarnation] + [running]
    return after


def raised(reserved: Mapping[str, int], noted: Mapping[str, int]) -> dict[str, int]:
    """The highest number that may have been used, by path: what is written down may be behind."""
    return {path: max(reserved.get(path, 0), noted.get(path, 0)) for path in {**reserved, **noted}}


def numbers(
    memory: Memory,
    reserved: Mapping[str, int],
    alive: Mapping[str, int],
    heirs: Mapping[str, Sequence[Start]],
) -> dict[str, int]:
    """What `machine.resume` wants as `incarnations`.

    Args:
        memory: of the earlier daemon.
        reserved: the highest number that may have been used, by path.
        alive: the incarnations in the memory that run.
        heirs: of those that do not; each answers a `Spawn` of its own, in order.
    """
    on_their_way = {
        path: max(known.incarnation, known.used, reserved.get(path, 0))
        for path, known in memory.children.items()
        if known.phase is Phase.SPAWNING
    }
    # Nobody was started after somebody who lives.
    before = {path: after[0].incarnation - 1 for path, after in heirs.items()}
    return {**reserved, **alive, **on_their_way, **before}
