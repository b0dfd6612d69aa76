"""Several simulated nodes: links that lose and reorder, daemons that crash, and nothing lost or done twice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from supervisord_ng.core import remote
from supervisord_ng.core.effects import TakeReports
from supervisord_ng.sim import fleet
from supervisord_ng.sim.run import Verdict

SEEDS = 25
SECONDS = 60


@pytest.mark.slow
def test_fleets_hold() -> None:
    """Fixed seeds: every fleet comes to rest with every report where it belongs, once."""
    for seed in range(SEEDS):
        outcome = fleet.play(seed, SECONDS, verbose=False)
        again = f"python -m supervisord_ng.sim.fleet --seed {seed} --seconds {SECONDS} -v"
        assert (Verdict.HELD, "") == (outcome.verdict, outcome.message), again


def test_a_daemon_that_ends_hears_of_a_node_that_comes_back() -> None:
    """It waits for the end of the tree there, which was ordered before; nobody answered that node's hello."""
    outcome = fleet.play(185, 120, verbose=False)
    assert (Verdict.HELD, "") == (outcome.verdict, outcome.message)


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
