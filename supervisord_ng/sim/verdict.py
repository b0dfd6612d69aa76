"""How histories are judged, and the command line that plays one after the other.

Exit status: 0 all held; 10 safety: something happened that must never; 11 liveness: something that must come
did not; 12 the core failed (an invariant, an exception); 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, Protocol

from supervisord_ng.sim.checkers import Violation


class Verdict(StrEnum):
    """How a history ended."""

    HELD = "held"
    SAFETY = "safety"
    LIVENESS = "liveness"
    CRASH = "crash"


EXIT_STATUS = {Verdict.HELD: 0, Verdict.SAFETY: 10, Verdict.LIVENESS: 11, Verdict.CRASH: 12}


class Stuck(AssertionError):
    """What has to come did not come in time."""


class Outcome(NamedTuple):
    """A verdict, what was wrong, a hash of the whole history, how long it simulated, daemons killed."""

    verdict: Verdict
    message: str
    digest: str
    simulated_s: float
    kills: int = 0


class Playable(Protocol):
    """A history. `play` raises Violation, Stuck, or what the core raises."""

    def play(self, length: int) -> None:
        """Play it to its end."""
        ...

    @property
    def digest(self) -> str:
        """A hash of the trace so far."""
        ...

    @property
    def simulated_s(self) -> float:
        """How far the clock has come."""
        ...

    @property
    def kills(self) -> int:
        """How many daemons were killed."""
        ...


def judge(begin: Callable[[], Playable], length: int) -> Outcome:
    """Begin a history, play it, and say how it ended."""
    history: Playable | None = None
    verdict, message = Verdict.HELD, ""
    try:
        history = begin()
        history.play(length)
    except Violation as error:
        verdict, message = Verdict.SAFETY, str(error)
    except Stuck as error:
        verdict, message = Verdict.LIVENESS, str(error)
    except Exception:  # noqa: BLE001 - whatever the core raises is the finding
        verdict, message = Verdict.CRASH, traceback.format_exc()
    if history is None:
        return Outcome(verdict, message, "", 0.0)
    return Outcome(verdict, message, history.digest, history.simulated_s, history.kills)


class Kind(NamedTuple):
    """One of the simulators, as its command line tells of it.

    Args:
        module: the program, in this package.
        about: what it does.
        plays: what it plays, in the plural.
        unit: of the length of one of them.
        usual: how long they usually are.
    """

    module: str
    about: str
    plays: str
    unit: str
    usual: int


class Play(Protocol):
    """Plays a seed, so long, and prints every step if it is told to."""

    def __call__(self, seed: int, length: int, /, *, verbose: bool) -> Outcome:
        """Play it and judge it."""
        ...


def play_seeds(kind: Kind, arguments: list[str], play: Play) -> int:
    """Play the seeds asked for; stop at the first that fails, and say how to play it again.

    Args:
        kind: of simulator.
        arguments: of the command line.
        play: plays a seed.

    Returns:
        The exit status.
    """
    program = f"python -m supervisord_ng.sim.{kind.module}"
    parser = argparse.ArgumentParser(prog=program, description=kind.about)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    length = f"--{kind.unit}"
    parser.add_argument(
        length, type=int, default=kind.usual, dest="length", help="of each, with faults"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print every step")
    parser.add_argument("-q", "--quiet", action="store_true", help="no line for each seed")
    chosen = parser.parse_args(arguments)
    begin, simulated_s, kills = time.perf_counter(), 0.0, 0
    for seed in range(chosen.seed, chosen.seed + chosen.seeds):
        outcome = play(seed, chosen.length, verbose=chosen.verbose)
        if outcome.verdict is not Verdict.HELD:
            print(f"seed {seed}: {outcome.verdict}: {outcome.message}", file=sys.stderr)
            again = f"{program} --seed {seed} {length} {chosen.length} -v"
            print(f"to play it again: {again}", file=sys.stderr)
            return EXIT_STATUS[outcome.verdict]
        simulated_s += outcome.simulated_s
        kills += outcome.kills
        if not chosen.quiet:
            print(f"seed {seed}: {outcome.digest}")
    spent_s = time.perf_counter() - begin
    hours = simulated_s / 3600
    print(
        f"{chosen.seeds} {kind.plays} held, {hours:.1f} simulated hours: "
        f"{chosen.seeds / spent_s:.1f} seeds/s, {hours / spent_s:.2f} simulated hours/s; "
        f"{kills} daemons killed",
        file=sys.stderr,
    )
    return 0
