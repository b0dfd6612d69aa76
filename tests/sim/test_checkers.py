"""The books of the simulator: each promise is broken once by hand, and has to be noticed."""

from __future__ import annotations

import random

import pytest

from supervisord_ng import limits
from supervisord_ng.core import effects, events
from supervisord_ng.model.exits import HEARTBEAT_TIMEOUT, SHUTDOWN, ExitStatus
from supervisord_ng.model.reports import Context, Decision, EventName
from supervisord_ng.model.spec import LaunchSpec, LogSpec, SupervisorSpec, WorkerSpec
from supervisord_ng.sim.agenda import Agenda
from supervisord_ng.sim.checkers import Checker, Violation
from supervisord_ng.sim.faults import NONE
from supervisord_ng.sim.world import Happening, World

A, B = (WorkerSpec(name, LaunchSpec(("simulated",)), LogSpec("")) for name in "ab")
ROOT = SupervisorSpec("root", (A, B), intensity=1, period_ns=limits.SECOND)


class Booted:
    """Books and a world in which the root runs with a and b."""

    def __init__(self) -> None:
        self.agenda: Agenda[Happening] = Agenda(0)
        self.world = World(random.Random(0), NONE, self.agenda)
        self.books = Checker(ROOT, self.world)
        self.says(EventName.STARTING, "root", kind="supervisor")
        for spec in (A, B):
            self.spawn(spec, 1)
        self.says(EventName.STARTED, "root", kind="supervisor")

    def does(self, effect: effects.Effect) -> None:
        """The core asks for this."""
        self.books.effect(effect, self.agenda.now)

    def says(self, event: EventName, path: str, kind: str = "worker", **more: object) -> None:
        """The core notes this."""
        self.does(effects.Note(event, path, 1, kind=kind, **more))  # type: ignore[arg-type]

    def spawn(self, spec: WorkerSpec, incarnation: int) -> None:
        """The core starts a worker and hears that it runs."""
        effect = effects.Spawn(f"root/{spec.name}", incarnation, spec)
        self.does(effect)
        self.world.spawn(effect)
        self.books.event(self.world.answers.popleft())
        self.does(effects.Note(EventName.STARTED, effect.path, incarnation))

    def ends(self, path: str) -> None:
        """A worker ends, and the core hears of it."""
        self.world.processes[path, 1].main = False
        self.books.event(events.Exited(path, 1, ExitStatus(code=1)))

    def restarts(self, path: str, count: int) -> None:
        """The core notes a restart, which it says is number `count` of its period."""
        self.says(EventName.RESTARTING, path, restarts_in_window=count)


def test_a_second_incarnation_beside_the_first_is_noticed() -> None:
    """Never two live incarnations of one child."""
    booted = Booted()
    booted.restarts("root/a", 1)
    with pytest.raises(Violation, match="root/a: #2 is started beside #1"):
        booted.spawn(A, 2)


def test_a_start_that_nobody_asked_for_is_noticed() -> None:
    """Every start follows from a boot, a counted restart or a call."""
    booted = Booted()
    booted.ends("root/a")
    with pytest.raises(Violation, match="root/a: started, and nobody asked"):
        booted.spawn(A, 2)


def test_a_number_that_was_used_before_is_noticed() -> None:
    """Incarnations only grow."""
    booted = Booted()
    booted.ends("root/a")
    booted.restarts("root/a", 1)
    with pytest.raises(Violation, match="root/a: incarnation 1 after 1"):
        booted.spawn(A, 1)


def test_one_restart_too_many_is_noticed() -> None:
    """Within the period there are never more than `intensity`, as the core itself has to say."""
    booted = Booted()
    booted.restarts("root/a", 1)
    with pytest.raises(Violation, match="root: 2 restarts > 1"):
        booted.restarts("root/b", 2)
    booted = Booted()
    with pytest.raises(Violation, match="root: says 0 restarts in its period, there were 1"):
        booted.restarts("root/a", 0)


def test_giving_up_too_early_is_noticed() -> None:
    """A supervisor gives up at intensity + 1 within its period, not before."""
    booted = Booted()
    with pytest.raises(Violation, match="root: gave up at 1 restarts"):
        booted.says(EventName.GAVE_UP, "root", kind="supervisor")


def test_a_wrong_order_of_stopping_is_noticed() -> None:
    """A supervisor that ends asks its youngest child first and waits until that is gone."""
    booted = Booted()
    booted.books.event(events.Stop())
    with pytest.raises(Violation, match="root/a: asked to stop before root/b is gone"):
        booted.does(effects.AskStop("root/a", 1, 15, whole=False, grace_ns=None))


def test_a_signal_to_the_dead_is_noticed() -> None:
    """Nobody is addressed who is known to be gone: the number may belong to somebody else."""
    booted = Booted()
    booted.ends("root/a")
    with pytest.raises(Violation, match="root/a: #1 is addressed, #None exists"):
        booted.does(effects.Kill("root/a", 1))


def test_a_wrong_verdict_on_a_heartbeat_is_noticed() -> None:
    """Who beats is never said to hang."""
    report = effects.Report(
        supervisor="root",
        context=Context.CHILD_TERMINATED,
        path="root/a",
        offender=1,
        retrying=False,
        reason=HEARTBEAT_TIMEOUT,
        decision=Decision.RESTART,
        restarts_in_window=0,
        intensity=1,
        period_ns=limits.SECOND,
        incarnation=1,
    )
    with pytest.raises(Violation, match="root/a: #1 beats and is said to hang"):
        Booted().does(report)


def test_a_second_answer_is_noticed() -> None:
    """Every call is answered exactly once."""
    booted = Booted()
    booted.books.event(events.Call("root", 7, "which_children"))
    booted.does(effects.Reply(7, "ok"))
    assert [] == booted.books.unanswered()
    with pytest.raises(Violation, match="request 7 is answered, and nobody waits for it"):
        booted.does(effects.Reply(7, "ok"))


def test_what_halt_leaves_behind_is_noticed() -> None:
    """When the root has ended nothing is left running."""
    with pytest.raises(Violation, match="halted and left"):
        Booted().does(effects.Halt(SHUTDOWN, asked=True))
