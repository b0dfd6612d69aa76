"""What goes wrong in one history, and in which tree: both drawn from the seed.

Swarm testing (Groce and others 2012): each seed switches each kind of fault on or off by itself, because a
fault that is always there hides what happens without it. Chances are per occasion, times in nanoseconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec
from msgspec.structs import replace

from supervisord_ng import limits
from supervisord_ng.model.spec import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    Backoff,
    ChildSpec,
    Heartbeat,
    LaunchSpec,
    LogSpec,
    Ready,
    Restart,
    Shutdown,
    StartFailure,
    StopOrder,
    Strategy,
    SupervisorSpec,
    WorkerSpec,
)

T = TypeVar("T")

ROOT = "root"
CHILDREN_MAX = 4  # of one supervisor; larger trees only take longer to go wrong
DEPTH_MAX = 3
WORKERS_MAX = 12
ROOT_INTENSITY = 1000


class Faults(msgspec.Struct, frozen=True):
    """How likely each kind of fault is; all of them off by default."""

    spawn_fails: float = 0.0
    ignores: float = 0.0
    ends_before_ready: float = 0.0
    never_ready: float = 0.0
    crashes: float = 0.0  # that this incarnation will crash at all
    ends_well: float = 0.0
    hangs: float = 0.0
    fails_probe: float = 0.0
    deaf: float = 0.0  # does not react to being asked
    ends_badly: float = 0.0  # while being stopped
    leaves_rest: float = 0.0  # its main process ends before the others
    survives_kill: float = 0.0  # for a while: uninterruptible sleep
    keeps_stacks: float = 0.0  # does not answer the request for its stacks
    late_word: float = 0.0  # an event arrives once more, after its incarnation
    operator: float = 0.0  # per second
    reloads: float = 0.0  # per second
    lag: float = 0.0  # per second: the daemon itself is late
    supervisor_killed: float = 0.0  # per second
    suspends: float = 0.0  # per second
    daemon_killed: float = 0.0  # per second: kill -9, and its workers live on
    dies_unseen: float = 0.0  # while no daemon runs


NONE = Faults()

_OFTEN = {
    "spawn_fails": 0.2,
    "ignores": 0.1,
    "operator": 1.0,
    "reloads": 0.3,
    "lag": 0.1,
    "supervisor_killed": 0.05,
    "suspends": 0.1,
    "daemon_killed": 0.3,
}
"""What is likelier than one half by default would leave little else to happen."""


def draw(chance: random.Random) -> Faults:
    """Switch each fault on with a chance of one half, and then draw how likely it is."""
    drawn = {}
    for name in Faults.__struct_fields__:
        often = _OFTEN.get(name, 0.5)
        drawn[name] = chance.uniform(0.0, often) if chance.random() < 0.5 else 0.0
    return Faults(**drawn)


class Forest:
    """Draws trees and children; names are counted, so that no two are the same."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._workers = 0
        self._supervisors = 0

    def root(self) -> SupervisorSpec:
        """The tree of one history."""
        spec = self._supervisor(ROOT, 1)
        if self._chance.random() < 0.2:
            return spec
        # most roots are hard to bring down, so that a history is long enough for something to happen
        return replace(
            spec,
            intensity=ROOT_INTENSITY,
            auto_shutdown=AutoShutdown.NEVER,
            start_failure=StartFailure.RETRY,
        )

    def child(self, auto_shutdown: AutoShutdown) -> ChildSpec:
        """A child for start_child: a worker, at times a small subtree."""
        if self._chance.random() < 0.2:
            self._supervisors += 1
            return self._supervisor(f"s{self._supervisors}", DEPTH_MAX)
        return self._worker(auto_shutdown)

    def _supervisor(self, name: str, depth: int) -> SupervisorSpec:
        chance = self._chance
        auto_shutdown = chance.choice([AutoShutdown.NEVER, AutoShutdown.NEVER, *AutoShutdown])
        children: list[ChildSpec] = []
        for _ in range(chance.randint(1, CHILDREN_MAX)):
            if depth < DEPTH_MAX and chance.random() < 0.35:
                self._supervisors += 1
                children.append(self._supervisor(f"s{self._supervisors}", depth + 1))
            elif self._workers < WORKERS_MAX:
                children.append(self._worker(auto_shutdown))
        return SupervisorSpec(
            name=name,
            children=tuple(children),
            strategy=chance.choice(
                [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
            ),
            intensity=chance.choice([0, 1, 2, 5, 20]),
            period_ns=chance.choice([1, 5, 30]) * limits.SECOND,
            auto_shutdown=auto_shutdown,
            restart=self._restart(),
            shutdown=chance.choice([INFINITY, INFINITY, INFINITY, self._span(limits.SECOND)]),
            start_failure=chance.choice([*StartFailure]),
            stop_order=chance.choice([StopOrder.REVERSE, StopOrder.REVERSE, StopOrder.PARALLEL]),
        )

    def _worker(self, auto_shutdown: AutoShutdown) -> WorkerSpec:
        chance = self._chance
        self._workers += 1
        restart = self._restart()
        ready = Ready(chance.choice(["exec", "exec", "heartbeat", "notify", "exit"]))
        if ready.kind == "exit" and restart is Restart.PERMANENT:
            restart = Restart.TRANSIENT  # whose end is its work; a permanent one would never rest
        # a permanent supervisor whose significant children end by design would never rest
        can_matter = auto_shutdown is not AutoShutdown.NEVER and restart is not Restart.PERMANENT
        can_matter = can_matter and ready.kind != "exit"
        return WorkerSpec(
            name=f"w{self._workers}",
            launch=LaunchSpec(command=("simulated",)),
            log=LogSpec(file=""),
            autostart=chance.random() < 0.95,
            restart=restart,
            significant=can_matter and chance.random() < 0.5,
            shutdown=self._shutdown(),
            success_exit_codes=(0, 3) if chance.random() < 0.2 else (0,),
            ready=ready,
            ready_timeout_ns=self._span(2 * limits.SECOND),
            heartbeat=self._maybe(0.4, self._heartbeat) if ready.kind != "exit" else None,
            backoff=self._maybe(0.4, self._backoff),
        )

    def _restart(self) -> Restart:
        kinds: list[Restart] = [Restart.PERMANENT, Restart.PERMANENT, *Restart]
        return self._chance.choice(kinds)

    def _shutdown(self) -> Shutdown:
        some = self._span(limits.SECOND)
        return self._chance.choice([some, some, some, INFINITY, BRUTAL_KILL, 0])

    def _heartbeat(self) -> Heartbeat:
        interval = self._span(limits.SECOND)
        detector: Literal["timeout", "phi"] = "phi" if self._chance.random() < 0.3 else "timeout"
        return Heartbeat(interval_ns=interval, timeout_ns=4 * interval, detector=detector)

    def _backoff(self) -> Backoff:
        initial = self._span(limits.SECOND)
        return Backoff(initial_ns=initial, max_ns=8 * initial, reset_after_ns=10 * limits.SECOND)

    def _span(self, most_ns: int) -> int:
        return self._chance.randint(most_ns // 10, most_ns)

    def _maybe(self, often: float, make: Callable[[], T]) -> T | None:
        return make() if self._chance.random() < often else None
