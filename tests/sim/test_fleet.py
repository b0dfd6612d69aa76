"""Several simulated nodes: links that lose and reorder, daemons that crash, and nothing lost or done twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from supervisord_ng.core import remote, resume
from supervisord_ng.core.effects import TakeReports
from supervisord_ng.core.state import ChildState
from supervisord_ng.core.turn import Turn
from supervisord_ng.sim import fleet, rebirth
from supervisord_ng.sim.verdict import Verdict

SEEDS = 25
KILLING_SEEDS = 20
SECONDS = 60


@pytest.mark.slow
def test_fleets_hold() -> None:
    """Fixed seeds: every fleet comes to rest with every report where it belongs, once."""
    for seed in range(SEEDS):
        outcome = fleet.play(seed, SECONDS, verbose=False)
        again = f"python -m supervisord_ng.sim.fleet --seed {seed} --seconds {SECONDS} -v"
        assert (Verdict.HELD, "") == (outcome.verdict, outcome.message), again


def test_daemons_are_killed_at_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """And others go on with what they have left: with a disk that was behind, and with a tree that is down."""
    seen: Counter[str] = Counter()
    begin = rebirth.begin

    def beginning(*args: Any, **more: Any) -> rebirth.Begun:
        begun = begin(*args, **more)
        seen[more["name"]] += 1
        seen["anew"] += begun.anew
        seen["heirs"] += bool(args[3].heirs)
        seen["down"] += not (begun.anew or begun.state.supervisors["root"].alive)
        return begun

    monkeypatch.setattr(rebirth, "begin", beginning)
    outcomes = [fleet.play(seed, SECONDS, verbose=False) for seed in range(KILLING_SEEDS)]
    assert {Verdict.HELD} == {outcome.verdict for outcome in outcomes}
    assert sum(outcome.kills for outcome in outcomes) >= KILLING_SEEDS
    assert all(seen[what] for what in ("top", "mid", "leaf1", "heirs", "down")), seen


def test_a_daemon_that_forgets_what_ran_below_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is no ornament: a give-up that nobody counts is found. `tests.core.plant` tries the others."""
    living_on = resume._living_on

    def forgetting(turn: Turn, child: ChildState) -> ChildState:
        return replace(living_on(turn, child), life=None)

    monkeypatch.setattr(resume, "_living_on", forgetting)
    verdicts = (fleet.play(seed, SECONDS, verbose=False).verdict for seed in range(KILLING_SEEDS))
    assert Verdict.SAFETY in verdicts


def test_same_seed_is_the_same_history() -> None:
    """Two processes with different hash seeds write byte-equal traces."""
    command = [
        sys.executable,
        "-m",
        "supervisord_ng.sim.fleet",
        "--seed",
        "3",
        "--seconds",
        "20",
        "-v",
    ]
    traces = [
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert len(traces[0]) > 1000
    assert traces[0] == traces[1]


def test_gap_in_the_reports_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of reports is no ornament: a receiver that takes what follows a gap loses some."""

    def take_anything(turn: object, name: str, after: int, upto: int) -> None:
        assert hasattr(turn, "emit")
        turn.emit(TakeReports(name, upto))

    monkeypatch.setattr(remote, "reports_offered", take_anything)
    verdicts = {fleet.play(seed, SECONDS, verbose=False).verdict for seed in range(12)}
    assert Verdict.SAFETY in verdicts
