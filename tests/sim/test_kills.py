"""kill -9 of the simulated daemon: it happens often enough, in every way, and what only it finds is found."""

from __future__ import annotations

from collections import Counter

import pytest

from supervisord_ng.core import resume
from supervisord_ng.core.events import Disowned, Event, Found
from supervisord_ng.sim import rebirth, run
from supervisord_ng.sim.births import Birth, Births
from supervisord_ng.sim.run import STEPS_DEFAULT, History
from supervisord_ng.sim.verdict import Verdict
from tests.core import plant
from tests.core.mistakes_resuming import KILLED_DAEMONS

SEEDS = 40
STEPS = 150


def test_daemons_are_killed_in_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """In about half of the histories, again and again: with heirs, with dead, anew, and again at once."""
    seen: Counter[str] = Counter()
    begin, step = rebirth.begin, History._step

    def beginning(*args: object, **more: object) -> rebirth.Begun:
        begun = begin(*args, **more)  # type: ignore[arg-type]
        world = args[3]
        seen["anew" if begun.anew else "goes on"] += 1
        seen["heirs"] += bool(world.heirs)  # type: ignore[attr-defined]
        return begun

    def stepping(history: History, event: Event) -> None:
        seen[type(event).__name__] += 1
        step(history, event)

    monkeypatch.setattr(rebirth, "begin", beginning)
    monkeypatch.setattr(History, "_step", stepping)
    outcomes = [run.play(seed, STEPS, verbose=False) for seed in range(SEEDS)]
    assert {Verdict.HELD} == {outcome.verdict for outcome in outcomes}
    killed = [outcome.kills for outcome in outcomes if outcome.kills]
    assert SEEDS // 4 <= len(killed) <= 3 * SEEDS // 4
    assert sum(killed) >= 2 * SEEDS
    ways = ("anew", "goes on", "heirs", Found.__name__, Disowned.__name__)
    assert all(seen[way] for way in ways), seen


def test_births_are_kept_for_some_starts() -> None:
    """As many as the real ones, in order, the pid once it is known."""
    births = Births()
    for number in range(1, 12):
        births.note("root/a", Birth(number))
    births.note("root/a", Birth(11, 77))
    assert [*range(4, 12)] == [birth.incarnation for birth in births.after("root/a", 0)]
    assert [Birth(11, 77)] == births.after("root/a", 10)
    assert {"root/a": 11} == births.last()
    births.forget("root/a")
    assert [] == births.after("root/a", 0)


def test_a_daemon_that_forgets_what_was_being_done_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fault is no ornament; `tests.core.plant` tries the other mistakes."""
    monkeypatch.setattr(resume, "_plan", lambda _plan, _children: None)
    verdicts = (run.play(seed, STEPS_DEFAULT, verbose=False).verdict for seed in range(SEEDS))
    assert any(verdict is not Verdict.HELD for verdict in verdicts)


@pytest.mark.slow
def test_mistakes_of_the_next_daemon_are_noticed() -> None:
    """By the simulator, two of them each in a process of its own."""
    names = [
        "the next daemon does not know the restarts of the last",
        "a start on its way gets the number after its own",
    ]
    assert set(names) <= set(KILLED_DAEMONS)
    finds = plant.examine(names)
    assert {"simulator"} == {find.check for found in finds.values() for find in found}
    assert all(finds.values())
