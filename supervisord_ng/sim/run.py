"""One seed, one history: ``python -m supervisord_ng.sim.run [--seed S] [--seeds N] [--steps M] [-v]``.

The tree, the faults and every accident are drawn from the seed. After each step the invariants of the core
and the books of `checkers` are looked at. Then the faults stop and the tree has to come to rest within a
bound; then it is told to stop and nothing may be left. A seed that fails says how to play it again.

Exit status: 0 all held; 10 safety: something happened that must never; 11 liveness: something that must come
did not; 12 the core failed (an invariant, an exception); 2 wrong usage.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.core import effects, events, invariants, succession
from supervisord_ng.core.machine import boot, next_deadline, step
from supervisord_ng.core.view import rows
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import SupervisorSpec, WorkerSpec
from supervisord_ng.model.status import State
from supervisord_ng.sim import faults, rebirth
from supervisord_ng.sim.agenda import Agenda
from supervisord_ng.sim.checkers import Checker, Violation
from supervisord_ng.sim.operators import Operator
from supervisord_ng.sim.rebirth import Begun, Journal, reserve
from supervisord_ng.sim.trace import Trace, describe
from supervisord_ng.sim.world import DELAY_NS, KILL_NS, LIFE_NS, REACTION_NS, Happening, World

STEPS_DEFAULT = 300
DOWN_NS = 5 * limits.SECOND  # the longest that no daemon runs
AGAIN = 0.2  # how likely it is killed again while it begins
BEHIND_MAX = 12  # steps and effects that the disk is behind when the daemon is killed
SEEDS_DEFAULT = 1
AT_REST = {State.RUNNING, State.STOPPED, State.EXITED, State.FAILED}


class Verdict(StrEnum):
    """How a history ended."""

    HELD = "held"
    SAFETY = "safety"
    LIVENESS = "liveness"
    CRASH = "crash"


EXIT_STATUS = {Verdict.HELD: 0, Verdict.SAFETY: 10, Verdict.LIVENESS: 11, Verdict.CRASH: 12}


class Outcome(NamedTuple):
    """A verdict, what was wrong, a hash of the whole history, how long it simulated, daemons killed."""

    verdict: Verdict
    message: str
    digest: str
    simulated_s: float
    kills: int = 0


class Killed(Exception):
    """The daemon is no more."""


class Stuck(AssertionError):
    """What has to come did not come in time."""


class History:
    """Everything that happens to one node under one seed."""

    def __init__(self, seed: int, *, verbose: bool) -> None:
        chance = random.Random(seed)
        self._trace = Trace(verbose=verbose)
        self._agenda: Agenda[Happening] = Agenda(limits.SECOND)
        drawn = faults.draw(chance)
        forest = faults.Forest(chance)
        spec = forest.root()
        self._chance = chance
        self._faults = drawn
        self._world = World(chance, drawn, self._agenda)
        self._checker = Checker(spec, self._world)
        self._operator = Operator(chance, drawn, self._agenda, forest, spec, lambda: self._reserved)
        self._is_up = True
        self._reserved: dict[str, int] = {}  # incarnation numbers, by path
        self._journal: Journal | None = None  # what the disk says, when it is behind
        self._stalls_in: int | None = None  # so many steps until it is
        self._dies_in: int | None = None  # so many steps and effects until the daemon is killed
        self.kills = 0
        self._trace.say(f"seed {seed}")
        self._trace.say(f"faults {drawn}")
        self._state, asked = boot(spec, seed=seed, now=self._agenda.now)
        self._plan_kill()
        self._alive(lambda: self._begin("boot", asked))

    @property
    def digest(self) -> str:
        """A hash of the trace so far."""
        return self._trace.digest

    @property
    def simulated_s(self) -> float:
        """How far the clock has come."""
        return self._agenda.now / limits.SECOND

    def play(self, steps: int) -> None:
        """Play it to its end. Raises Violation, Stuck, or what the core raises."""
        for _ in range(steps):
            if self._checker.halted is not None or not self._next():
                break
        self._calm()
        if self._checker.halted is None:
            self._come_to_rest()
        if self._checker.halted is None:
            self._end()
        for call in self._checker.unanswered():
            raise Stuck(f"never answered: {call}")
        for path, number in self._checker.unaccounted():
            raise Violation(f"{path}: nobody has said that #{number} came, or went")

    # --- what happens next ----------------------------------------
    def _next(self) -> bool:
        """Let the next thing happen; False when nothing will ever happen again."""
        due = self._agenda.next_at()
        deadline = next_deadline(self._state) if self._is_up else None
        if deadline is not None and (due is None or deadline < due):
            self._agenda.pass_to(deadline)
            self._alive(lambda: self._feed(events.Tick()))
        elif due is not None:
            event = self._agenda.take()()
            if event is not None and self._is_up:
                self._alive(lambda: self._feed(event))
        return due is not None or deadline is not None

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
        self._state, asked = step(self._state, event, self._agenda.now)
        self._do(describe(event), asked)
        self._write()

    def _do(self, what: str, asked: tuple[effects.Effect, ...]) -> None:
        """Carry effects out in order, judging each before it is done."""
        self._trace.step(self._agenda.now, what, asked)
        invariants.check(self._state)
        for effect in asked:
            self._burn()
            self._checker.effect(effect, self._agenda.now)
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
                case effects.Reply():
                    self._operator.answered(effect)
                case effects.Forget():
                    self._world.births.forget(effect.path)
                case effects.Note(kind="supervisor", event=EventName.STARTING):
                    reserve(self._reserved, effect.path, effect.incarnation)
                case _:
                    pass

    # --- the daemon is killed -------------------------------------
    def _plan_kill(self) -> None:
        """At a random moment the disk stops to keep up, and soon the daemon is killed."""
        likely = self._faults.daemon_killed
        if likely == 0:
            return

        def stall() -> None:
            if self._faults is faults.NONE:
                return
            self._plan_kill()
            if self._journal is None:
                self._stalls_in = self._chance.choice((0, 0, 1, 2))

        self._agenda.after(round(self._chance.expovariate(likely) * limits.SECOND), stall)

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
            self._trace.say(f"{self._agenda.now / limits.SECOND:.9f} KILL -9")
            self._is_up = False
            self._dies_in = self._stalls_in = None
            self._world.daemon_killed(self._faults.dies_unseen)
            self._operator.daemon_killed()
            self._agenda.after(self._chance.randint(0, DOWN_NS), self._begin_again)

    def _begin_again(self) -> None:
        """The next daemon, with what the disk says."""
        journal = self._journal
        assert journal is not None
        self._is_up = True
        self._checker = journal.books.copy()
        noted = self._world.births.last()
        self._reserved = succession.raised(journal.reserved, noted)
        if self._chance.random() < AGAIN and self._faults is not faults.NONE:
            self._dies_in = self._chance.randint(0, BEHIND_MAX)
        spec = self._operator.file
        seed = self._chance.getrandbits(64)
        begun = rebirth.begin(
            spec, journal, self._reserved, self._world, seed=seed, now=self._agenda.now
        )
        self._state = begun.state
        if begun.anew:
            self._checker = self._checker.anew(spec, begun.stopped)
        else:
            self._checker.resumed(
                spec, rebirth.under_way(journal.state), begun.removed, begun.added
            )
        self._alive(lambda: self._go_on(begun))

    def _go_on(self, begun: Begun) -> None:
        self._begin("anew" if begun.anew else "goes on", begun.effects)
        for disowned in rebirth.end_unclaimed(self._world):
            self._feed(disowned)
        self._checker.settled()
        self._dies_in = self._journal = None
        for path in begun.outdated:
            self._feed(self._operator.restart(path))

    # --- liveness ----------------------------------------
    def _calm(self) -> None:
        """The faults stop. If no daemon runs, one will."""
        self._trace.say("calm")
        self._faults = faults.NONE
        self._dies_in = self._stalls_in = None
        self._world.calm()
        while not self._is_up:
            self._next()
        for event in self._operator.calm():
            self._feed(event)

    def _come_to_rest(self) -> None:
        """Within the bound everything that is to run runs, or its supervisor gave up."""
        until = self._agenda.now + self._bound()
        while self._checker.halted is None and (restless := self._restless()):
            if self._agenda.now > until or not self._next():
                raise Stuck(f"no rest at {self._agenda.now / limits.SECOND:.3f} s: {restless}")

    def _restless(self) -> list[str]:
        """Who is not where it belongs, and why, in words."""
        now = self._agenda.now
        found = [f"{call} is not answered" for call in self._checker.unanswered()]
        found += [f"{path} #{number} hangs" for path, number in self._world.hanging()]
        table = {row.path: row for row in rows(self._state, now)}
        for row in table.values():
            above = table.get(row.supervisor or "")
            if above is not None and above.state is not State.RUNNING and row.state in AT_REST:
                continue  # below a supervisor that is down nothing is expected
            if row.state not in AT_REST:
                found.append(f"{row.path} is {row.state}")
            elif self._checker.has_to_run(row.path) and row.state is not State.RUNNING:
                found.append(f"{row.path} is {row.state} and has to run")
        return found

    def _end(self) -> None:
        """The parent of the root asks it to end: Halt, and nothing is left."""
        self._trace.say("stop")
        until = self._agenda.now + self._bound()
        self._feed(events.Stop())
        while self._checker.halted is None:
            if self._agenda.now > until or not self._next():
                raise Stuck(f"not halted; left: {self._world.living()}")
        if not self._checker.halted.asked:
            raise Violation("halted as if nobody had asked")

    def _bound(self) -> int:
        """How long everything may take at most, in nanoseconds.

        Each worker that ails when the faults stop may cost one restart of everything, and each supervisor
        one more: so often the sum of every wait that there can be.
        """
        total, count = 0, 1
        for spec in self._checker.specs():
            count += 1
            if isinstance(spec, SupervisorSpec):
                total += 0 if isinstance(spec.shutdown, str) else spec.shutdown
                continue
            assert isinstance(spec, WorkerSpec), "other nodes are not simulated here"
            total += spec.ready_timeout_ns + limits.DUMP_WAIT_NS + KILL_NS + DELAY_NS
            total += REACTION_NS if isinstance(spec.shutdown, str) else spec.shutdown
            if spec.heartbeat is not None:
                phi = spec.heartbeat.detector == "phi"
                longest = limits.PHI_TIMEOUTS_MAX if phi else 1
                total += longest * spec.heartbeat.timeout_ns + spec.ready_timeout_ns
            if spec.backoff is not None:
                total += round(spec.backoff.max_ns * (1 + spec.backoff.jitter))
        return LIFE_NS + count * total


def play(seed: int, steps: int, *, verbose: bool) -> Outcome:
    """Play one history and judge it."""
    history: History | None = None
    verdict, message = Verdict.HELD, ""
    try:
        history = History(seed, verbose=verbose)
        history.play(steps)
    except Violation as error:
        verdict, message = Verdict.SAFETY, str(error)
    except Stuck as error:
        verdict, message = Verdict.LIVENESS, str(error)
    except Exception:  # noqa: BLE001 - whatever the core raises is the finding
        verdict, message = Verdict.CRASH, traceback.format_exc()
    if history is None:
        return Outcome(verdict, message, "", 0.0)
    return Outcome(verdict, message, history.digest, history.simulated_s, history.kills)


def main(arguments: list[str]) -> int:
    """Play the seeds asked for; stop at the first that fails."""
    parser = argparse.ArgumentParser(prog="python -m supervisord_ng.sim.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=SEEDS_DEFAULT, help="how many")
    parser.add_argument("--steps", type=int, default=STEPS_DEFAULT, help="of each, with faults")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every step")
    parser.add_argument("-q", "--quiet", action="store_true", help="no line for each seed")
    chosen = parser.parse_args(arguments)
    begin, simulated_s, kills = time.perf_counter(), 0.0, 0
    for seed in range(chosen.seed, chosen.seed + chosen.seeds):
        outcome = play(seed, chosen.steps, verbose=chosen.verbose)
        if outcome.verdict is not Verdict.HELD:
            again = f"python -m supervisord_ng.sim.run --seed {seed} --steps {chosen.steps} -v"
            print(f"seed {seed}: {outcome.verdict}: {outcome.message}", file=sys.stderr)
            print(f"to play it again: {again}", file=sys.stderr)
            return EXIT_STATUS[outcome.verdict]
        simulated_s += outcome.simulated_s
        kills += outcome.kills
        if not chosen.quiet:
            print(f"seed {seed}: {outcome.digest}")
    spent_s = time.perf_counter() - begin
    told = rate("histories", chosen.seeds, simulated_s, spent_s)
    print(f"{told}; {kills} daemons killed", file=sys.stderr)
    return 0


def rate(what: str, seeds: int, simulated_s: float, spent_s: float) -> str:
    """How fast it went, for the last line."""
    hours = simulated_s / 3600
    return (
        f"{seeds} {what} held, {hours:.1f} simulated hours: "
        f"{seeds / spent_s:.1f} seeds/s, {hours / spent_s:.2f} simulated hours/s"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
