"""Who acts on the node from outside: an operator with calls, and accidents of the daemon itself.

Calls at random, files edited and reloaded, supervisors killed, held and released, and the daemon late: each by
the chances in `faults`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from supervisord_ng import limits
from supervisord_ng.core import effects, events
from supervisord_ng.model import names
from supervisord_ng.model.spec import AutoShutdown, ChildSpec, SupervisorSpec
from supervisord_ng.sim.agenda import Agenda
from supervisord_ng.sim.faults import Faults, Forest
from supervisord_ng.sim.reloads import Editor
from supervisord_ng.sim.world import Happening

HELD_NS = limits.SECOND  # the longest that a supervisor is held
LAG_NS = 2 * limits.SECOND  # the longest that the daemon is late


class Operator:
    """Plans what is done to the node, and remembers which children there may be."""

    def __init__(
        self,
        chance: random.Random,
        faults: Faults,
        agenda: Agenda[Happening],
        forest: Forest,
        spec: SupervisorSpec,
        numbers: Callable[[], Mapping[str, int]],
    ) -> None:
        self._chance = chance
        self._agenda = agenda
        self._forest = forest
        self._numbers = numbers  # the last incarnation numbers, by path
        self._requests = 0
        self._calm = False
        self._held: list[str] = []
        self._wanted: dict[int, ChildSpec] = {}  # new children, by the request to start them
        self._supervisors: dict[str, SupervisorSpec] = {}
        self._children: list[tuple[str, ChildSpec]] = []  # with the supervisor's path
        self._learn(spec.name, spec)
        self._editor = Editor(chance, forest, spec)
        self._again(faults.operator, self._call)
        self._again(faults.reloads, self._reload)
        self._again(faults.lag, self._lag)
        self._again(faults.supervisor_killed, self._kill)
        self._again(faults.suspends, self._hold)

    def calm(self) -> list[events.Event]:
        """From now on nothing is done any more, and nobody stays held."""
        self._calm = True
        released: list[events.Event] = [events.Resume(path) for path in self._held]
        self._held.clear()
        return released

    def answered(self, reply: effects.Reply) -> None:
        """Learn of children that were added."""
        spec = self._wanted.pop(reply.request, None)
        if spec is not None and reply.code == "ok":
            self._children.append((names.parent(reply.path), spec))
            if isinstance(spec, SupervisorSpec):
                self._learn(reply.path, spec)

    @property
    def file(self) -> SupervisorSpec:
        """What the file says now, which a daemon that begins reads."""
        return self._editor.spec

    def daemon_killed(self) -> None:
        """Nobody is answered any more, and the next daemon holds nobody."""
        self._held.clear()
        self._wanted.clear()

    def restart(self, path: str) -> events.Event:
        """What restarts this child."""
        self._requests += 1
        return events.Call(names.parent(path), self._requests, "renew_child", names.leaf(path))

    def _learn(self, path: str, spec: SupervisorSpec) -> None:
        self._supervisors[path] = spec
        for child in spec.children:
            self._children.append((path, child))
            if isinstance(child, SupervisorSpec):
                self._learn(names.join(path, child.name), child)

    def _again(self, per_second: float, act: Happening) -> None:
        """Do this again and again, `per_second` times on average."""
        if per_second == 0:
            return

        def once() -> events.Event | None:
            if self._calm:
                return None
            self._again(per_second, act)
            return act()

        pause = round(self._chance.expovariate(per_second) * limits.SECOND)
        self._agenda.after(pause, once)

    # --- what can be done ----------------------------------------
    def _call(self) -> events.Event:
        self._requests += 1
        path, spec = self._chance.choice(self._children)
        choice = self._chance.random()
        if choice < 0.1:
            return events.Call(path, self._requests, "which_children")
        if choice < 0.2:
            return events.Call(path, self._requests, "count_children")
        if choice < 0.3:
            return self._start(path, spec)
        if choice < 0.4:
            path = self._chance.choice(list(self._supervisors))
            spec = self._forest.child(AutoShutdown.NEVER)
            self._wanted[self._requests] = spec
            return self._start(path, spec)
        if choice < 0.6:
            return events.Call(path, self._requests, "terminate_child", spec.name)
        if choice < 0.7:
            return events.Call(path, self._requests, "delete_child", spec.name)
        if choice < 0.8:
            return events.Call(path, self._requests, "renew_child", spec.name)
        now = self._chance.random() < 0.5
        return events.Call(path, self._requests, "restart_child", spec.name, now=now)

    def _start(self, path: str, spec: ChildSpec) -> events.Event:
        child = names.join(path, spec.name)
        known = self._numbers().items()
        used = [n for other, n in known if other == child or other.startswith(f"{child}/")]
        return events.Call(
            path, self._requests, "start_child", spec.name, spec, used=max(used, default=0)
        )

    def _reload(self) -> events.Event:
        self._requests += 1
        spec = self._editor.next()
        self._learn(spec.name, spec)
        return events.Reload(spec, self._requests, dict(self._numbers()))

    def _kill(self) -> events.Event:
        paths = list(self._supervisors)
        return events.Kill(self._chance.choice(paths[1:] or paths))  # the root first: rarely killed

    def _hold(self) -> events.Event:
        path = self._chance.choice(list(self._supervisors))
        self._held.append(path)
        self._agenda.after(self._chance.randint(0, HELD_NS), lambda: self._release(path))
        return events.Suspend(path)

    def _release(self, path: str) -> events.Event | None:
        if path not in self._held:
            return None
        self._held.remove(path)
        return events.Resume(path)

    def _lag(self) -> events.Event:
        lag = self._chance.randint(0, LAG_NS)
        self._agenda.pass_to(self._agenda.now + lag)
        return events.Lagged(lag)
