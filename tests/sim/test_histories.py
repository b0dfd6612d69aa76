"""Random histories of the core in a simulated world: what must hold in each of them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from supervisord_ng.sim.run import STEPS_DEFAULT, main, play
from supervisord_ng.sim.verdict import Outcome, Verdict

SEEDS = 200
CHUNKS = 8  # so that a report says roughly which seeds, and the runner can spread them


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_history_holds(chunk: int) -> None:
    """No seed breaks safety or liveness, or the core itself; the failing ones are named."""
    failed = []
    for seed in range(chunk, SEEDS, CHUNKS):
        outcome = play(seed, STEPS_DEFAULT, verbose=False)
        if outcome.verdict is not Verdict.HELD:
            failed.append(f"--seed {seed}: {outcome.verdict}: {outcome.message}")
    assert [] == failed


@pytest.mark.parametrize("seed", ["11", "6"])
def test_a_seed_is_a_history_whatever_python_hashes(seed: str) -> None:
    """The same seed gives the same bytes under different PYTHONHASHSEED, daemons killed included."""
    one, other = (_trace(seed, hash_seed) for hash_seed in ("1", "2"))
    assert "halt" in one.lower()
    assert (seed == "6") == ("KILL -9" in one)
    assert one == other


def test_two_seeds_are_two_histories() -> None:
    """What happens depends on the seed."""
    assert play(1, STEPS_DEFAULT, verbose=False) != play(2, STEPS_DEFAULT, verbose=False)


def test_a_failing_seed_says_how_to_play_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard error has the verdict and the command; the exit status tells the kinds apart."""
    for verdict, status in (("safety", 10), ("liveness", 11), ("crash", 12)):
        outcome = Outcome(Verdict(verdict), "what was wrong", "", 0.0)
        monkeypatch.setattr("supervisord_ng.sim.run.play", lambda *_, o=outcome, **__: o)
        assert status == main(["--seed", "7", "--steps", "5"])
        assert (
            f"seed 7: {verdict}: what was wrong\n"
            "to play it again: python -m supervisord_ng.sim.run --seed 7 --steps 5 -v\n"
        ) == capsys.readouterr().err


def _trace(seed: str, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "supervisord_ng.sim.run", "--seed", seed, "-v"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout
