"""Another configuration for a simulated node: a tree like the one before, but for what somebody has edited."""

from __future__ import annotations

import random

from msgspec.structs import replace

from supervisord_ng import limits
from supervisord_ng.model.spec import (
    ChildSpec,
    Ready,
    Strategy,
    SupervisorSpec,
    WorkerSpec,
)
from supervisord_ng.sim.faults import CHILDREN_MAX, Forest

_STRATEGIES = (Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)


class Editor:
    """Draws one tree after the other; `spec` is the last.

    Names are never used for another kind of child, nor moved.
    """

    def __init__(self, chance: random.Random, forest: Forest, spec: SupervisorSpec) -> None:
        self._chance = chance
        self._forest = forest
        self.spec = spec
        self._edits = 0

    def next(self) -> SupervisorSpec:
        """The next version of the file."""
        self.spec = self._supervisor(self.spec)
        return self.spec

    def _supervisor(self, spec: SupervisorSpec) -> SupervisorSpec:
        chance = self._chance
        children: list[ChildSpec] = []
        for child in spec.children:
            if chance.random() < 0.1:
                continue
            if isinstance(child, SupervisorSpec):
                children.append(self._supervisor(child))
            elif isinstance(child, WorkerSpec):
                children.append(self._worker(child))
        if len(children) < CHILDREN_MAX and chance.random() < 0.3:
            at = chance.randint(0, len(children))
            children.insert(at, self._forest.child(spec.auto_shutdown))
        if chance.random() < 0.1:
            chance.shuffle(children)
        if chance.random() < 0.2:
            strategy, intensity = chance.choice(_STRATEGIES), chance.choice([0, 1, 5, 20])
            if spec.intensity is not None and spec.intensity > intensity:
                intensity = spec.intensity  # a root that is hard to bring down stays so
            period = chance.choice([1, 5, 30]) * limits.SECOND
            spec = replace(spec, strategy=strategy, intensity=intensity, period_ns=period)
        return replace(spec, children=tuple(children))

    def _worker(self, spec: WorkerSpec) -> WorkerSpec:
        chance = self._chance
        if chance.random() < 0.15:
            self._edits += 1
            launch = replace(spec.launch, command=("simulated", str(self._edits)))
            spec = replace(spec, launch=launch)
        if chance.random() < 0.15:
            spec = replace(spec, shutdown=chance.randint(1, limits.SECOND))
        if chance.random() < 0.15 and spec.heartbeat is not None:
            timeout = spec.heartbeat.interval_ns * chance.choice([4, 8, 16])
            spec = replace(spec, heartbeat=replace(spec.heartbeat, timeout_ns=timeout))
        if chance.random() < 0.1 and spec.ready.kind != "exit":
            spec = replace(spec, ready=Ready(chance.choice(["exec", "heartbeat", "notify"])))
        return spec
