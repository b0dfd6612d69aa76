"""Several nodes under one seed: ``python -m supervisord_ng.sim.fleet [--seed S] [--seeds N] [-v]``.

A root node, a node below it and one or two leaves below that; each runs the real core. The seed
draws the trees, what goes wrong in their processes, on the links between them (`network`), and
when hosts crash, and daemons stop, are late and are killed. A host that crashes takes its processes
with it and comes back with what was durable on its disk; the workers of a daemon that is killed live
on, and the next one goes on with them (`host`). After each step the core's invariants and the books
of `linkbooks` are looked at. Then the faults stop: within a bound every link is up, every remote
child runs the tree that its parent believes in, and every report that was durable anywhere is on
every node above it, once, in the order of its node. Exit status: see `verdict`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.core import events
from supervisord_ng.core.state import Phase
from supervisord_ng.model.spec import (
    Heartbeat,
    LaunchSpec,
    LogSpec,
    ParentSpec,
    RemoteSpec,
    Restart,
    StartFailure,
    Strategy,
    SupervisorSpec,
    WorkerSpec,
)
from supervisord_ng.sim import faults as process_faults
from supervisord_ng.sim import network, verdict
from supervisord_ng.sim.agenda import Agenda
from supervisord_ng.sim.checkers import Violation
from supervisord_ng.sim.station import Station
from supervisord_ng.sim.trace import Trace
from supervisord_ng.sim.verdict import Kind, Outcome, Stuck

SECONDS_DEFAULT = 120
SECOND = limits.SECOND
DOWN_NS = 10 * SECOND  # the longest that a daemon stays away, or a link is cut
CALM_NS = 300 * SECOND  # every wait of these trees, many times over
HEARTBEAT = Heartbeat(interval_ns=1 * SECOND, timeout_ns=5 * SECOND)


class Place(NamedTuple):
    """Where a node stands: its name and that of the node above."""

    name: str
    above: str | None


class Fleet:
    """All nodes, the links between them, and one clock."""

    def __init__(self, seed: int, *, verbose: bool) -> None:
        self._chance = random.Random(seed)
        self._agenda: Agenda[Callable[[], None]] = Agenda(SECOND)
        self._trace = Trace(verbose=verbose)
        self.faults = network.draw(self._chance)
        self._calm = False
        plan = self._agenda.after
        self._network = network.Network(self._chance, self.faults, plan)
        leaves = [Place(f"leaf{n}", "mid") for n in range(1, self._chance.randint(2, 3))]
        self._places = [Place("top", None), Place("mid", "top"), *leaves]
        self.stations: dict[str, Station] = {}
        processes = process_faults.draw(self._chance)
        self._trace.say(f"seed {seed} {self.faults} {processes}")
        for place in self._places:
            below = [other.name for other in self._places if other.above == place.name]
            self.stations[place.name] = Station(
                place.name,
                self._tree(place, below),
                self._parent(place),
                self._chance,
                processes,
                self._agenda,
                self._trace,
            )
        for place in self._places:
            if place.above is not None:
                self._connect(self.stations[place.name], self.stations[place.above])
        for station in self.stations.values():
            station.gather_ns = limits.LINK_GATHER_MAX_NS if seed % 2 == 0 else 0
            plan(self._chance.randint(0, 3 * SECOND), station.start)
        plan(SECOND, self._accidents)

    @property
    def digest(self) -> str:
        """A hash of the history so far."""
        return self._trace.digest

    @property
    def simulated_s(self) -> float:
        """How far the clock has come."""
        return self._agenda.now / SECOND

    @property
    def kills(self) -> int:
        """How many daemons were killed."""
        return sum(station.kills for station in self.stations.values())

    def play(self, length: int) -> None:
        """Faults for so many seconds, then calm. Raises Violation, Stuck, or what the core raises."""
        self._run_until(self._agenda.now + length * SECOND, lambda: False)
        self._be_calm()
        self._run_until(self._agenda.now + CALM_NS, lambda: not self._restless())
        restless = self._restless()
        if restless:
            raise Stuck(f"no rest at {self._agenda.now / SECOND:.3f} s: {'; '.join(restless)}")
        self._check_reports()
        self._check_counts()
        for station in self.stations.values():
            station.check_accounts()

    # --- what there is ---------------------------------------------------------------------------
    def _tree(self, place: Place, below: list[str]) -> SupervisorSpec:
        """A tree with workers and a remote child for each node below; the top never gives up."""
        chance = self._chance
        workers = [self._worker(f"{place.name}-w{n}") for n in range(chance.randint(1, 3))]
        remotes = [
            RemoteSpec(
                name,
                public_key="",
                restart=chance.choice([Restart.PERMANENT, Restart.PERMANENT, Restart.TRANSIENT]),
                heartbeat=HEARTBEAT,
                on_lost=chance.choice(["wait", "wait", "exit"]),
            )
            for name in below
        ]
        children: list[WorkerSpec | RemoteSpec] = [*workers, *remotes]
        chance.shuffle(children)
        return SupervisorSpec(
            "root",
            children=tuple(children),
            strategy=chance.choice(
                [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]
            ),
            intensity=None if place.above is None else chance.choice([0, 1, 3, 10]),
            start_failure=StartFailure.RETRY,
        )

    def _worker(self, name: str) -> WorkerSpec:
        return WorkerSpec(
            name,
            LaunchSpec(("simulated",)),
            LogSpec(""),
            shutdown=self._chance.choice([SECOND, 3 * SECOND]),
        )

    def _parent(self, place: Place) -> ParentSpec | None:
        if place.above is None:
            return None
        return ParentSpec(
            endpoint="",
            public_key="",
            on_partition=self._chance.choice(["continue", "continue", "stop"]),
            partition_timeout_ns=8 * SECOND,
            heartbeat=HEARTBEAT,
        )

    def _connect(self, child: Station, parent: Station) -> None:
        link, net = child.name, self._network

        def up(value: object) -> None:
            connection = (child.boots, parent.boots)
            net.send(
                link, lambda arrived: parent.from_child(child.name, connection, arrived), value
            )

        def down(value: object) -> None:
            net.send(link, child.frame_from_parent, value)

        child.send_up = up
        parent.send_down[child.name] = down

    # --- what happens ----------------------------------------------------------------------------
    def _run_until(self, until: int, done: Callable[[], bool]) -> None:
        """Let things happen in order of time until `until`, or `done` at the turn of a second."""
        second = self._agenda.now
        while self._agenda.now < until:
            if self._agenda.now >= second:
                if done():
                    return
                second = self._agenda.now + SECOND
            self._next(until)

    def _next(self, until: int) -> None:
        due = self._agenda.next_at()
        ticks = [
            (at, station.name)
            for station in self.stations.values()
            if (at := station.tick_at()) is not None
        ]
        tick, name = min(ticks, default=(until, ""))
        if due is not None and due <= min(tick, until):
            self._agenda.take()()
        elif tick <= until and name:
            self._agenda.pass_to(tick)
            self.stations[name].feed(events.Tick())
        else:
            self._agenda.pass_to(until)

    def _accidents(self) -> None:
        """Once a simulated second: what happens to daemons and links."""
        if self._calm:
            return
        self._agenda.after(SECOND, self._accidents)
        for place in self._places:
            station = self.stations[place.name]
            if place.above is not None and self._strikes(self.faults.cut):
                self._network.cut(place.name)
                self._later(lambda name=place.name: self._mend(name))  # type: ignore[misc]
            if station.is_up:
                self._accident(station)

    def _mend(self, link: str) -> None:
        """The link is whole again, and the node at its lower end has a new connection."""
        self._network.mend(link)
        self.stations[link].feed(events.Connected())

    def _accident(self, station: Station) -> None:
        """What happens to one daemon; one that has ended comes back."""
        if self._strikes(self.faults.daemon_crash):
            station.crash()
        elif self._strikes(self.faults.daemon_stop):
            station.feed(events.Stop())
        elif self._strikes(self.faults.daemon_killed):
            station.stall()
        elif self._strikes(self.faults.lag):
            station.feed(events.Lagged(self._chance.randint(1, 5 * SECOND)))
        self._later(station.start)

    def _later(self, act: Callable[[], None]) -> None:
        self._agenda.after(self._chance.randint(limits.MS, DOWN_NS), act)

    def _strikes(self, likely: float) -> bool:
        return likely > 0 and self._chance.random() < likely

    # --- the end ---------------------------------------------------------------------------------
    def _be_calm(self) -> None:
        self._trace.say("calm")
        self._calm = True
        self._network.calm()
        for station in self.stations.values():
            station.calm()

    def _restless(self) -> list[str]:
        """What is not yet as it must be."""
        found = []
        for place in self._places:
            station = self.stations[place.name]
            if not station.is_up:
                station.start()  # somebody starts a daemon that has ended, as a service manager does
                found.append(f"{place.name} was down")
            found += station.restless()
            found += self._restless_links(station)
            if len(station.disk.reports) > station.disk.acked and place.above is not None:
                found.append(f"{place.name} has reports to send")
        return found

    def _restless_links(self, station: Station) -> list[str]:
        state = station.state
        found = []
        for name in state.downlinks:
            child = state.supervisors["root"].children.get(name)
            if (
                not state.supervisors["root"].alive
                or child is None
                or not self.stations[name].is_up
            ):
                continue
            below = self.stations[name].state
            if child.phase is Phase.RUNNING and below.life != child.life:
                found.append(
                    f"{station.name} believes in {child.life} of {name}, it is {below.life}"
                )
            elif child.phase not in (Phase.RUNNING, Phase.DOWN):
                found.append(f"{name} is {child.phase}")
            elif child.phase is Phase.DOWN and below.supervisors["root"].alive:
                found.append(f"{name} runs and is not wanted")
            if child.phase is Phase.DOWN and child.spec.restart is Restart.PERMANENT:
                found.append(f"{name} is down and has to run")
        return found

    def _check_reports(self) -> None:
        """Everything that was ever durable below is on every node above: once, in the node's order.

        But for what a full outbox on the way has dropped, and counted.
        """
        for place in self._places:
            station = self.stations[place.name]
            reports = station.disk.reports
            if len(set(reports)) != len(reports):
                raise Violation(f"{place.name} has a report twice")
            for other in self._places:
                if not self._is_above(place.name, other.name):
                    continue
                lost = self._dropped_between(other.name, place.name)
                made = [one for one in self.stations[other.name].disk.made if one not in lost]
                there = [one for one in reports if one.startswith(f"{other.name}-")]
                if [one for one in there if one not in lost] != made:
                    raise Violation(f"{place.name} lacks or disorders reports of {other.name}")

    def _dropped_between(self, lower: str, upper: str) -> set[str]:
        """What the nodes from `lower` to below `upper` have dropped without sending it."""
        above = {place.name: place.above for place in self._places}
        at, dropped = lower, set[str]()
        while at != upper:
            dropped |= self.stations[at].disk.dropped
            at = above[at] or upper
        return dropped

    def _is_above(self, upper: str, lower: str) -> bool:
        above = {place.name: place.above for place in self._places}
        at = above[lower]
        while at is not None:
            if at == upper:
                return True
            at = above[at]
        return False

    def _check_counts(self) -> None:
        """No end of a tree is counted twice: a parent restarts it at most as often as lives were over."""
        for place in self._places:
            books = self.stations[place.name].books
            for path, counted in books.counted.items():
                name = path.rpartition("/")[2]
                spec = next(c for c in self.stations[place.name].spec.children if c.name == name)
                if isinstance(spec, RemoteSpec) and spec.on_lost == "exit":
                    continue  # there a silence is an end as well
                below = self.stations[name]
                if counted > below.lives_ended:
                    raise Violation(
                        f"{place.name} counts {counted} ends of {name}, there were {below.lives_ended}"
                    )
                for life, judged in books.judged.items():
                    twice = judged > 1 and life.startswith(f"{name}-") and life not in below.relived
                    if twice:
                        raise Violation(f"{place.name} counts the end of {life} {judged} times")


KIND = Kind("fleet", __doc__, "fleets", "seconds", SECONDS_DEFAULT)


def play(seed: int, seconds: int, *, verbose: bool) -> Outcome:
    """Play one history and judge it."""
    return verdict.judge(lambda: Fleet(seed, verbose=verbose), seconds)


def main(arguments: list[str]) -> int:
    """Play the seeds asked for; stop at the first that fails."""
    return verdict.play_seeds(KIND, arguments, play)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
