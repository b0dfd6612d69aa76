"""One simulated host: its workers, its disk, and one daemon after the other, some of them killed with kill -9.

At a random moment the disk stops to keep up, and some steps and effects later the daemon is killed, perhaps in
the middle of a start. Its workers live on, and the next daemon goes on with the journal as it was. What a host
does besides, alone or in a fleet, is added by who inherits this.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from supervisord_ng import limits
from supervisord_ng.core import effects, events, invariants, succession
from supervisord_ng.core.machine import step
from supervisord_ng.core.state import NodeState
from supervisord_ng.core.view import rows
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import SupervisorSpec
from supervisord_ng.model.status import State
from supervisord_ng.sim import faults, rebirth
from supervisord_ng.sim.agenda import Planner
from supervisord_ng.sim.checkers import Checker, Violation
from supervisord_ng.sim.faults import Faults
from supervisord_ng.sim.rebirth import Begun, Journal, reserve
from supervisord_ng.sim.trace import Trace, describe
from supervisord_ng.sim.world import Happening, World

DOWN_NS = 5 * limits.SECOND  # the longest that no daemon runs after one was killed
AGAIN = 0.2  # how likely it is killed again while it begins
BEHIND_MAX = 12  # steps and effects that the disk is behind when the daemon is killed
AT_REST = {State.RUNNING, State.STOPPED, State.EXITED, State.FAILED}


class Killed(Exception):
    """The daemon is no more."""


class Host:
    """What all simulated hosts have in common.

    Args:
        spec: what the file says.
        drawn: the faults of its processes.
        chance: of everything.
        agenda: of this host; what is planned there and is an event is told to the daemon that runs then.
        trace: of the history.
        checker: the kind of books to be kept.
        label: what steps of this host begin with in the trace.

    Attributes:
        kills: how many of its daemons were killed.
        spec: what the file said at first.
    """

    def __init__(
        self,
        spec: SupervisorSpec,
        drawn: Faults,
        chance: random.Random,
        agenda: Planner[Happening],
        trace: Trace,
        checker: type[Checker] = Checker,
        label: str = "",
    ) -> None:
        self.kills = 0
        self.spec = spec
        self._label = label
        self._chance = chance
        self._faults = drawn
        self._trace = trace
        self._plans = agenda
        self._world = World(chance, drawn, agenda)
        self._checker = checker(spec, self._world)
        self._daemon: NodeState | None = None  # of the one that runs
        self._reserved: dict[str, int] = {}  # incarnation numbers, by path
        self._journal: Journal | None = None  # what the disk says, when it is behind
        self._stalls_in: int | None = None  # so many steps until it is
        self._dies_in: int | None = None  # so many steps and effects until the daemon is killed

    @property
    def is_up(self) -> bool:
        """Whether a daemon runs, or has halted and is still to be looked at."""
        return self._daemon is not None

    @property
    def _state(self) -> NodeState:
        assert self._daemon is not None, f"{self._label}no daemon runs"
        return self._daemon

    # --- what inherits this may add ---------------------------------------------------------------
    def _file(self) -> SupervisorSpec:
        """What the file says now, which a daemon that begins reads."""
        return self.spec

    def _of_the_node(self) -> dict[str, Any]:
        """What `boot` and `resume` of the core want to know besides."""
        return {}

    def _perform(self, effect: effects.Effect) -> None:
        """Carry out what is not for the world of processes."""

    def _decided(self) -> None:
        """There is a new state, and nothing is carried out yet."""

    def _falls_behind(self) -> None:
        """Nothing more is written to the disk, until the daemon is killed."""

    def _falls(self) -> None:
        """The daemon was killed."""

    def _rises(self, begun: Begun) -> None:
        """The next daemon has begun and been told the news."""

    # --- steps ------------------------------------------------------------------------------------
    def _begin(self, what: str, asked: tuple[effects.Effect, ...]) -> None:
        """Carry out what a tree begins with, and tell what is new."""
        self._do(what, asked)
        self._answer()
        while self._world.news:
            self._feed(self._world.news.popleft())

    def _feed(self, event: events.Event) -> None:
        self._step(event)
        self._answer()
        if isinstance(event, events.Lagged):  # nothing else happens before whoever is due is judged
            self._feed(events.Tick())

    def _answer(self) -> None:
        """Give the answers to `Spawn`, which come before anything else that happens."""
        while self._world.answers:
            self._step(self._world.answers.popleft())

    def _step(self, event: events.Event) -> None:
        self._burn()
        self._checker.event(event)
        self._daemon, asked = step(self._state, event, self._plans.now)
        self._do(describe(event), asked)
        self._write()

    def _do(self, what: str, asked: tuple[effects.Effect, ...]) -> None:
        """Carry effects out in order, judging each before it is done."""
        self._trace.step(self._plans.now, f"{self._label}{what}", asked)
        invariants.check(self._state)
        self._decided()
        for effect in asked:
            self._burn()
            self._checker.effect(effect, self._plans.now)
            match effect:
                case effects.Spawn():
                    reserve(self._reserved, effect.path, effect.incarnation)
                    self._world.spawn(effect, self._burn)
                case effects.AskStop():
                    self._world.ask_stop(effect)
                case effects.Kill():
                    self._world.kill(effect)
                case effects.Dump():
                    self._world.dump(effect)
                case effects.Forget():
                    self._world.births.forget(effect.path)
                case _:
                    self._note_number(effect)
                    self._perform(effect)

    def _note_number(self, effect: effects.Effect) -> None:
        """Of a supervisor or a node below; cf. `daemon.performing`."""
        note = effect if isinstance(effect, effects.Note) else None
        if note is not None and note.kind != "worker" and note.event is EventName.STARTING:
            reserve(self._reserved, note.path, note.incarnation)

    # --- the daemon is killed ---------------------------------------------------------------------
    def stall(self) -> None:
        """In a few steps the disk stops to keep up, and soon after that the daemon is killed."""
        if self._journal is None:
            self._stalls_in = self._chance.choice((0, 0, 1, 2))

    def _write(self) -> None:
        """A step is done. Nothing is written after the disk has stopped to keep up."""
        if self._stalls_in is None:
            return
        if self._stalls_in:
            self._stalls_in -= 1
            return
        self._stalls_in = None
        self._journal = Journal(self._state, dict(self._reserved), self._checker.copy())
        self._dies_in = self._chance.choice((0, 1, self._chance.randint(2, BEHIND_MAX)))
        self._falls_behind()

    def _burn(self) -> None:
        """One thing less that happens before the daemon is killed."""
        if self._dies_in is None or self._checker.halted is not None:
            return
        if self._dies_in == 0:
            raise Killed
        self._dies_in -= 1

    def _alive(self, act: Callable[[], None]) -> None:
        """Do this, unless the daemon is killed before it is done."""
        try:
            act()
        except Killed:
            self.kills += 1
            self._trace.say(f"{self._plans.now / limits.SECOND:.9f} {self._label}KILL -9")
            self._daemon = None
            self._dies_in = self._stalls_in = None
            self._world.daemon_killed(self._faults.dies_unseen)
            self._falls()
            self._plans.after(self._chance.randint(0, DOWN_NS), self._begin_again)

    def _begin_again(self) -> None:
        """The next daemon, with what the disk says."""
        journal = self._journal
        if journal is None or self.is_up:
            return  # somebody was quicker, or the host has crashed meanwhile
        self._checker = journal.books.copy()
        noted = self._world.births.last()
        self._reserved = succession.raised(journal.reserved, noted)
        if self._chance.random() < AGAIN and self._faults is not faults.NONE:
            self._dies_in = self._chance.randint(0, BEHIND_MAX)
        spec = self._file()
        seed = self._chance.getrandbits(64)
        healthy = rebirth.healthy(journal.state, self._world)
        begun = rebirth.begin(
            spec,
            journal,
            self._reserved,
            self._world,
            seed=seed,
            now=self._plans.now,
            **self._of_the_node(),
        )
        self._daemon = begun.state
        if begun.anew:
            self._checker = self._checker.anew(spec, begun.stopped)
            self._journal = self._first_journal(begun)
        else:
            self._checker.kept(healthy, begun.state, begun.removed)
            self._checker.resumed(
                spec, rebirth.under_way(journal.state), begun.removed, begun.added
            )
        self._alive(lambda: self._go_on(begun))

    def _first_journal(self, begun: Begun) -> Journal:
        """A daemon that begins anew has that written before it starts anybody."""
        books = self._checker.copy()
        for effect in begun.effects:
            books.effect(effect, self._plans.now)
        return Journal(begun.state, dict(self._reserved), books)

    def _go_on(self, begun: Begun) -> None:
        self._begin("anew" if begun.anew else "goes on", begun.effects)
        for disowned in rebirth.end_unclaimed(self._world):
            self._feed(disowned)
        self._checker.settled()
        self._dies_in = self._journal = None
        self._rises(begun)

    # --- the end ----------------------------------------------------------------------------------
    def _calm(self) -> None:
        """Nothing begins to go wrong here from now on."""
        self._faults = faults.NONE
        self._stalls_in = None
        self._world.calm()

    def _restless_tree(self) -> list[str]:
        """Who is not where it belongs, and why, in words."""
        found = [f"{call} is not answered" for call in self._checker.unanswered()]
        found += [f"{path} #{number} hangs" for path, number in self._world.hanging()]
        table = {row.path: row for row in rows(self._state, self._plans.now)}
        for row in table.values():
            above = table.get(row.supervisor or "")
            if above is not None and above.state is not State.RUNNING and row.state in AT_REST:
                continue  # below a supervisor that is down nothing is expected
            if row.kind == "remote":
                continue  # its own node knows
            if row.state not in AT_REST:
                found.append(f"{row.path} is {row.state}")
            elif self._checker.has_to_run(row.path) and row.state is not State.RUNNING:
                found.append(f"{row.path} is {row.state} and has to run")
        return found

    def _check_accounts(self) -> None:
        """Everyone who was started has an end that was told, or lives and is known."""
        for path, number in self._checker.unaccounted():
            raise Violation(f"{path}: nobody has said that #{number} came, or went")
