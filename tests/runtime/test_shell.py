"""Nobody is judged unheard: what the shell tells the core, and in which order, when a deadline has passed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from supervisord_ng import limits
from supervisord_ng.core import machine
from supervisord_ng.core.effects import Dump, Effect, Spawn
from supervisord_ng.core.events import (
    Beat,
    Beats,
    Event,
    Exited,
    Lagged,
    Spawned,
    Tick,
    Unresponsive,
)
from supervisord_ng.core.state import NodeState
from supervisord_ng.limits import MS, SECOND
from supervisord_ng.model.exits import LIVENESS, ExitStatus
from supervisord_ng.model.spec import Heartbeat
from supervisord_ng.runtime import clock
from supervisord_ng.runtime.lateness import Lateness
from supervisord_ng.runtime.recorder import Recorder
from supervisord_ng.runtime.shell import Shell
from tests.core.trees import supervisor, worker
from tests.support import eventually

BEATING = worker("a", heartbeat=Heartbeat(1 * MS, 5 * MS))
OTHER = worker("b")
ENDED = Exited("root/b", 1, ExitStatus(code=0), empty=True)
ALIVE = Beats((Beat("root/a", 1),))


class World:
    """Workers that start and do nothing; `said` is heard before anybody is judged."""

    def __init__(self) -> None:
        self.said: list[Event] = []
        self.dumped: list[str] = []
        self.recorder = Recorder("n")
        self.shell = Shell(
            asyncio.get_running_loop(), self._perform, self._say, self._fail, self.recorder
        )
        tree = supervisor("root", BEATING, OTHER)
        self.shell.begin(*machine.boot(tree, seed=1, now=clock.monotonic_ns()))
        self.shell.go()
        self.shell.feed(ALIVE)

    def pass_deadline(self, by_ns: int = 0) -> None:
        """Keep the loop busy until the worker has been silent for too long, and `by_ns` more."""
        deadline = self.shell.state.deadline
        assert deadline is not None
        eventually(lambda: clock.monotonic_ns() > deadline + by_ns, "the time comes", 20)

    def told(self, count: int) -> list[str]:
        """The names of the first events that the core has got after the worker's first beat."""
        flight = self.recorder.flight(self.shell.state)
        names = [type(moment.event).__name__ for moment in flight.moments]
        times = [moment.now for moment in flight.moments]
        assert sorted(times) == times
        return names[names.index("Beats") + 1 :][:count]

    def _say(self) -> None:
        for event in self.said:
            self.shell.feed(event)

    def _perform(self, effect: Effect) -> Event | None:
        match effect:
            case Spawn(path=path, incarnation=incarnation):
                return Spawned(path, incarnation, 7)
            case Dump(path=path):
                self.dumped.append(path)
        return None

    def _fail(self, error: BaseException) -> None:
        raise error


def play(scene: Callable[[World], None]) -> World:
    """A scene in which the loop has nothing to say: nothing runs between its lines."""

    async def played() -> World:
        world = World()
        try:
            scene(world)
        finally:
            world.shell.close()
        return world

    return asyncio.run(played())


def test_an_event_that_comes_before_the_timer_judges_nobody_unheard() -> None:
    """A worker's end is seen first; another one's beat has arrived by then, and saves it."""

    def scene(world: World) -> None:
        world.said = [ALIVE]
        world.pass_deadline()
        world.shell.feed(ENDED)

    world = play(scene)
    assert [] == world.dumped
    assert ["Beats", "Tick", "Exited"] == [name for name in world.told(4) if name != "Lagged"][:3]


def test_who_has_said_nothing_is_judged_before_the_event() -> None:
    """The deadline was first."""

    def scene(world: World) -> None:
        world.pass_deadline()
        world.shell.feed(ENDED)

    # on a machine that was late for more than a moment, the worker is given one more: judged or excused
    world = play(scene)
    assert (["root/a"] == world.dumped) != ("Lagged" in world.told(1))
    assert ["Tick", "Exited"] == [name for name in world.told(3) if name != "Lagged"][:2]


def test_our_own_lag_is_told_before_anything_that_was_said() -> None:
    """And nobody is judged for it."""

    def scene(world: World) -> None:
        world.said = [Unresponsive("root/b", 1, LIVENESS)]
        world.pass_deadline(2 * limits.EVENT_LOOP_LAG_NS)
        world.shell.feed(Tick())

    world = play(scene)
    assert "root/a" not in world.dumped
    assert ["Lagged", "Tick", "Tick", "Unresponsive"] == world.told(4)
    lag_ns = world.shell.lag_ns()
    assert 2 * limits.EVENT_LOOP_LAG_NS <= lag_ns


def test_words_alone_judge_nobody() -> None:
    """They may be the first of many that have arrived; the timer comes next."""

    def scene(world: World) -> None:
        world.pass_deadline()
        world.shell.feed(Beats((Beat("root/b", 1),)))

    world = play(scene)
    assert (["Beats"], []) == (world.told(3), world.dumped)


@pytest.mark.parametrize(
    ("after_s", "expected_ms"), [(0, 70), (20, 70), (40, 70), (100, 30), (1000, 0)]
)
def test_lateness_is_the_worst_of_the_last_minute(after_s: int, expected_ms: int) -> None:
    """What is older is forgotten, half a minute more or less."""
    lateness = Lateness()
    for at_s, late_ms in ((1000, 10), (1001, 70), (1002, 20), (1060, 30)):
        if at_s <= 1002 + after_s:
            lateness.note(late_ms * MS, at_s * SECOND)
    assert expected_ms * MS == lateness.worst_ns((1002 + after_s) * SECOND)


def test_lag_events_have_their_amount() -> None:
    """From the deadline to when it was looked at."""

    def scene(world: World) -> None:
        world.pass_deadline(3 * limits.EVENT_LOOP_LAG_NS)
        world.shell.feed(Tick())

    flight = play(scene)
    lags = [
        moment.event.lag_ns
        for moment in flight.recorder.flight(flight.shell.state).moments
        if isinstance(moment.event, Lagged)
    ]
    assert 3 * limits.EVENT_LOOP_LAG_NS <= lags[0]


def test_a_change_is_told_when_everything_that_it_asks_for_is_done() -> None:
    """What goes into the journal is not ahead of the reports and the starts that it speaks of."""
    told: list[tuple[int, int]] = []

    async def crash_again_and_again() -> None:
        starts = 0

        def perform(effect: Effect) -> Event | None:
            nonlocal starts
            if not isinstance(effect, Spawn):
                return None
            starts += 1
            if starts < 2 * limits.SHELL_TURN_EVENTS:
                shell.feed(Exited(effect.path, effect.incarnation, ExitStatus(code=1)))
            return Spawned(effect.path, effect.incarnation, 7)

        def changed(state: NodeState) -> None:
            told.append((starts, state.supervisors["root"].children["b"].incarnation))

        def fail(error: BaseException) -> None:
            raise error

        loop, recorder = asyncio.get_running_loop(), Recorder("n")
        shell = Shell(loop, perform, lambda: None, fail, recorder, changed)
        tree = supervisor("root", OTHER, intensity=None)
        shell.begin(*machine.boot(tree, seed=1, now=clock.monotonic_ns()))
        shell.go()
        shell.settle()
        shell.close()

    asyncio.run(crash_again_and_again())
    assert len(told) > 1
    assert all(done == wanted for done, wanted in told), told
