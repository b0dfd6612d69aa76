"""What one step of the core costs: the crash and restart of one child, in trees of several sizes.

Prints the median of one step over trees of one supervisor with N children and of N supervisors with N children
each, with its ratio to the smallest tree of its kind, and the whole core time of a give-up of N children.
Run: python -m benchmarks.core_step
"""

from __future__ import annotations

import statistics
import time
from collections import deque

from supervisord_ng.core import effects, events, machine
from supervisord_ng.core.state import NodeState
from supervisord_ng.model.exits import SHUTDOWN, ExitStatus
from supervisord_ng.model.spec import LaunchSpec, LogSpec, SupervisorSpec, WorkerSpec

STEPS = 2000
SECOND = 1_000_000_000


def worker(name: str) -> WorkerSpec:
    """A worker that is never really started."""
    return WorkerSpec(name, LaunchSpec(("true",)), LogSpec("/dev/null"))


def flat(children: int, intensity: int | None = None) -> SupervisorSpec:
    """One supervisor."""
    workers = tuple(worker(f"w{i}") for i in range(children))
    return SupervisorSpec("root", children=workers, intensity=intensity)


def square(side: int) -> SupervisorSpec:
    """`side` supervisors with `side` children each."""
    below = tuple(
        SupervisorSpec(
            f"s{j}", children=tuple(worker(f"s{j}w{i}") for i in range(side)), intensity=None
        )
        for j in range(side)
    )
    return SupervisorSpec("root", children=below, intensity=None)


class Node:
    """The core with a world that starts and stops everything at once; times every step."""

    def __init__(self, spec: SupervisorSpec) -> None:
        self.now = 0
        self.pid = 1
        self.costs: list[int] = []
        self.state: NodeState
        self.state, asked = machine.boot(spec, seed=1, now=0)
        self._answer(deque(asked))

    def feed(self, event: events.Event) -> None:
        """One event and everything that follows from it."""
        self._answer(deque(self._step(event)))

    def _step(self, event: events.Event) -> tuple[effects.Effect, ...]:
        self.now += SECOND  # so that the restart window holds as many as in a real crash loop
        begin = time.perf_counter_ns()
        self.state, asked = machine.step(self.state, event, self.now)
        machine.next_deadline(self.state)
        self.costs.append(time.perf_counter_ns() - begin)
        return asked

    def _answer(self, asked: deque[effects.Effect]) -> None:
        while asked:
            effect = asked.popleft()
            if isinstance(effect, effects.Spawn):
                self.pid += 1
                asked += self._step(events.Spawned(effect.path, effect.incarnation, self.pid))
            elif isinstance(effect, effects.AskStop):
                asked += self._step(events.Exited(effect.path, effect.incarnation, SHUTDOWN))


def restart_cost_us(spec: SupervisorSpec, path: str) -> float:
    """The median step of crashing and restarting the child at `path`."""
    node = Node(spec)
    node.costs.clear()
    supervisor, _, name = path.rpartition("/")
    for _ in range(STEPS // 2):
        incarnation = node.state.supervisors[supervisor].children[name].incarnation
        node.feed(events.Exited(path, incarnation, ExitStatus(code=1)))
    return statistics.median(node.costs) / 1000


def give_up_s(children: int) -> float:
    """The core time of a supervisor with this many children that gives up and stops them all."""
    node = Node(flat(children, intensity=0))
    node.costs.clear()
    node.feed(events.Exited("root/w0", 1, ExitStatus(code=1)))
    assert node.state.halted
    return sum(node.costs) / SECOND


def main() -> None:
    """Print the tables."""
    print(f"{'children':>10} {'us/step':>9} {'ratio':>6}")
    floor = None
    for children in (10, 100, 1000, 10_000):
        cost = restart_cost_us(flat(children), f"root/w{children // 2}")
        floor = floor or cost
        print(f"{children:>10} {cost:>9.1f} {cost / floor:>6.2f}")
    floor = None
    for side in (10, 100):
        cost = restart_cost_us(square(side), f"root/s{side // 2}/s{side // 2}w{side // 2}")
        floor = floor or cost
        print(f"{side:>5}x{side:<4} {cost:>9.1f} {cost / floor:>6.2f}")
    for children in (100, 1000):
        print(f"give-up of {children}: {give_up_s(children):.3f} s of core time")


if __name__ == "__main__":
    main()
