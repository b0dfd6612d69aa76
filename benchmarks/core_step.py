"""What one step of the core costs, by what happens and by the size of the tree.

The history: beating workers, of which one after another crashes and is restarted: for every crash
ten beats of others, each a step of its own as when they arrive alone. Prints the median of all
steps and of each kind, with the ratio to the smallest tree of its shape, and the whole core time of
a give-up that stops N children. Run it alone on the machine: python -m benchmarks.core_step
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque

from supervisord_ng.core import effects, events, machine
from supervisord_ng.core.state import NodeState
from supervisord_ng.model.exits import SHUTDOWN, ExitStatus
from supervisord_ng.model.spec import (
    Heartbeat,
    LaunchSpec,
    LogSpec,
    Ready,
    SupervisorSpec,
    WorkerSpec,
)

CRASHES = 500
BEATS = 10
SECOND = 1_000_000_000
BEATING = Heartbeat(1 * SECOND, 3600 * SECOND)
KINDS = ("Beats", "Exited", "Spawned", "BecameReady")


def worker(name: str) -> WorkerSpec:
    """A worker that is never really started."""
    return WorkerSpec(
        name,
        LaunchSpec(("true",)),
        LogSpec("/dev/null"),
        heartbeat=BEATING,
        ready=Ready("heartbeat"),
        ready_timeout_ns=3600 * SECOND,
    )


def flat(children: int, intensity: int | None = 20) -> SupervisorSpec:
    """One supervisor."""
    workers = tuple(worker(f"w{i}") for i in range(children))
    return SupervisorSpec("root", children=workers, intensity=intensity)


def square(side: int) -> SupervisorSpec:
    """`side` supervisors with `side` children each."""
    below = tuple(
        SupervisorSpec(
            f"s{j}", children=tuple(worker(f"s{j}w{i}") for i in range(side)), intensity=20
        )
        for j in range(side)
    )
    return SupervisorSpec("root", children=below)


class Node:
    """The core with a world that starts and stops everything at once; times every step."""

    def __init__(self, spec: SupervisorSpec) -> None:
        self.now = 0
        self.pid = 1
        self.costs: dict[str, list[int]] = defaultdict(list)
        self.state: NodeState
        self.state, asked = machine.boot(spec, seed=1, now=0)
        self._answer(deque(asked))

    def feed(self, event: events.Event) -> None:
        """One event and everything that follows from it."""
        self._answer(deque(self._step(event)))

    def _step(self, event: events.Event) -> tuple[effects.Effect, ...]:
        self.now += SECOND // 10
        begin = time.perf_counter_ns()
        self.state, asked = machine.step(self.state, event, self.now)
        machine.next_deadline(self.state)
        self.costs[type(event).__name__].append(time.perf_counter_ns() - begin)
        return asked

    def _answer(self, asked: deque[effects.Effect]) -> None:
        while asked:
            effect = asked.popleft()
            if isinstance(effect, effects.Spawn):
                self.pid += 1
                key = (effect.path, effect.incarnation)
                asked += self._step(events.Spawned(*key, self.pid))
                asked += self._step(events.BecameReady(*key))
            elif isinstance(effect, effects.AskStop):
                asked += self._step(events.Exited(effect.path, effect.incarnation, SHUTDOWN))


def play(spec: SupervisorSpec) -> dict[str, float]:
    """The medians in microseconds, by kind, and of all steps."""
    node = Node(spec)
    node.costs.clear()
    paths = [
        child.path
        for supervisor in node.state.supervisors.values()
        for child in supervisor.children.values()
        if isinstance(child.spec, WorkerSpec)
    ]
    turn = 0
    for crash in range(CRASHES):
        for _ in range(BEATS):
            turn += 1
            path = paths[turn * 7 % len(paths)]
            node.feed(events.Beats((events.Beat(path, incarnation(node, path), turn),)))
        path = paths[crash * 13 % len(paths)]
        node.feed(events.Exited(path, incarnation(node, path), ExitStatus(code=1)))
    medians = {kind: statistics.median(node.costs[kind]) / 1000 for kind in KINDS}
    medians["all"] = (
        statistics.median(cost for costs in node.costs.values() for cost in costs) / 1000
    )
    return medians


def incarnation(node: Node, path: str) -> int:
    """Of the child at `path`."""
    supervisor, _, name = path.rpartition("/")
    return node.state.supervisors[supervisor].children[name].incarnation


def give_up_s(children: int) -> float:
    """The core time of a supervisor with this many children that gives up and stops them all."""
    node = Node(flat(children, intensity=0))
    node.costs.clear()
    node.feed(events.Exited("root/w0", 1, ExitStatus(code=1)))
    assert node.state.halted
    return sum(cost for costs in node.costs.values() for cost in costs) / SECOND


def table(rows: list[tuple[str, SupervisorSpec]]) -> None:
    """Print one shape of trees, by size."""
    floor: float | None = None
    for name, spec in rows:
        medians = play(spec)
        floor = floor or medians["all"]
        kinds = "".join(f"{medians[kind]:>13.1f}" for kind in KINDS)
        print(f"{name:>10}{medians['all']:>9.1f}{medians['all'] / floor:>8.2f}{kinds}")


def main() -> None:
    """Print the tables."""
    print(f"{'children':>10}{'us/step':>9}{'ratio':>8}" + "".join(f"{kind:>13}" for kind in KINDS))
    table([(str(count), flat(count)) for count in (10, 100, 1000, 10_000)])
    table([(f"{side}x{side}", square(side)) for side in (10, 100)])
    for children in (100, 1000):
        print(f"give-up of {children}: {give_up_s(children):.3f} s of core time")


if __name__ == "__main__":
    main()
