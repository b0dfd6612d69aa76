"""One seed, one history: ``python -m supervisord_ng.sim.run [--seed S] [--seeds N] [--steps M] [-v]``.

The tree, the faults and every accident are drawn from the seed. After each step the invariants of the core
and the books of `checkers` are looked at. Then the faults stop and the tree has to come to rest within a
bound; then it is told to stop and nothing may be left. A seed that fails says how to play it again.
Exit status: see `verdict`.
"""

from __future__ import annotations

import random
import sys

from supervisord_ng import limits
from supervisord_ng.core import effects, events
from supervisord_ng.core.machine import boot, next_deadline
from supervisord_ng.model.spec import SupervisorSpec, WorkerSpec
from supervisord_ng.sim import faults, verdict
from supervisord_ng.sim.agenda import Agenda
from supervisord_ng.sim.checkers import Violation
from supervisord_ng.sim.host import Host
from supervisord_ng.sim.operators import Operator
from supervisord_ng.sim.rebirth import Begun
from supervisord_ng.sim.trace import Trace
from supervisord_ng.sim.verdict import Kind, Outcome, Stuck
from supervisord_ng.sim.world import DELAY_NS, KILL_NS, LIFE_NS, REACTION_NS, Happening

STEPS_DEFAULT = 300


class History(Host):
    """Everything that happens to one node under one seed."""

    def __init__(self, seed: int, *, verbose: bool) -> None:
        chance = random.Random(seed)
        trace = Trace(verbose=verbose)
        self._agenda: Agenda[Happening] = Agenda(limits.SECOND)
        drawn = faults.draw(chance)
        forest = faults.Forest(chance)
        spec = forest.root()
        super().__init__(spec, drawn, chance, self._agenda, trace)
        self._operator = Operator(chance, drawn, self._agenda, forest, spec, lambda: self._reserved)
        trace.say(f"seed {seed}")
        trace.say(f"faults {drawn}")
        self._daemon, asked = boot(spec, seed=seed, now=self._agenda.now)
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

    def play(self, length: int) -> None:
        """Play it to its end, so many steps with faults. Raises Violation, Stuck, or what the core raises."""
        for _ in range(length):
            if self._checker.halted is not None or not self._next():
                break
        self._be_calm()
        if self._checker.halted is None:
            self._come_to_rest()
        if self._checker.halted is None:
            self._end()
        for call in self._checker.unanswered():
            raise Stuck(f"never answered: {call}")
        self._check_accounts()

    # --- what happens next ----------------------------------------
    def _next(self) -> bool:
        """Let the next thing happen; False when nothing will ever happen again."""
        due = self._agenda.next_at()
        deadline = next_deadline(self._state) if self.is_up else None
        if deadline is not None and (due is None or deadline < due):
            self._agenda.pass_to(deadline)
            self._alive(lambda: self._feed(events.Tick()))
        elif due is not None:
            event = self._agenda.take()()
            if event is not None and self.is_up:
                self._alive(lambda: self._feed(event))
        return due is not None or deadline is not None

    def _plan_kill(self) -> None:
        """Again and again a daemon is killed at a random moment."""
        likely = self._faults.daemon_killed
        if likely == 0:
            return

        def stall() -> None:
            if self._faults is faults.NONE:
                return
            self._plan_kill()
            self.stall()

        self._agenda.after(round(self._chance.expovariate(likely) * limits.SECOND), stall)

    # --- the operator ---------------------------------------------
    def _file(self) -> SupervisorSpec:
        return self._operator.file

    def _perform(self, effect: effects.Effect) -> None:
        if isinstance(effect, effects.Reply):
            self._operator.answered(effect)

    def _falls(self) -> None:
        self._operator.daemon_killed()

    def _rises(self, begun: Begun) -> None:
        for path in begun.outdated:
            self._feed(self._operator.restart(path))

    # --- liveness ----------------------------------------
    def _be_calm(self) -> None:
        """The faults stop. If no daemon runs, one will."""
        self._trace.say("calm")
        self._calm()
        self._dies_in = None
        while not self.is_up:
            self._next()
        for event in self._operator.calm():
            self._feed(event)

    def _come_to_rest(self) -> None:
        """Within the bound everything that is to run runs, or its supervisor gave up."""
        until = self._agenda.now + self._bound()
        while self._checker.halted is None and (restless := self._restless_tree()):
            if self._agenda.now > until or not self._next():
                raise Stuck(f"no rest at {self._agenda.now / limits.SECOND:.3f} s: {restless}")

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


KIND = Kind("run", __doc__, "histories", "steps", STEPS_DEFAULT)


def play(seed: int, steps: int, *, verbose: bool) -> Outcome:
    """Play one history and judge it."""
    return verdict.judge(lambda: History(seed, verbose=verbose), steps)


def main(arguments: list[str]) -> int:
    """Play the seeds asked for; stop at the first that fails."""
    return verdict.play_seeds(KIND, arguments, play)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
