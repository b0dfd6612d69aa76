"""How long a restart waits. OTP has no such delay, it is off unless a worker asks for it.

Initial, then `factor` times as long up to `max`, plus or minus `jitter`; a run of `reset_after` starts over.
Chance comes from a generator in the node's state, so that a history is a function of its seed.
"""

from __future__ import annotations

from supervisord_ng.model.spec import Backoff

_MASK = (1 << 64) - 1
_EXPONENT_MAX = 64  # factor >= 1: far beyond any `max`, and no overflow of a float


def next_random(seed: int) -> tuple[int, float]:
    """One step of splitmix64 (Steele, Lea, Flood 2014): the next seed and a number in [0, 1)."""
    seed = (seed + 0x9E3779B97F4A7C15) & _MASK
    z = seed
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    z ^= z >> 31
    return seed, z / (1 << 64)


def delay_ns(backoff: Backoff | None, tries: int, chance: float) -> int:
    """How long the restart number `tries` (0 for the first) waits, in nanoseconds.

    Args:
        backoff: the worker's, None for no delay at all.
        tries: restarts in a row before this one.
        chance: a number in [0, 1) that places the delay within its jitter.
    """
    if backoff is None:
        return 0
    base = min(backoff.initial_ns * backoff.factor ** min(tries, _EXPONENT_MAX), backoff.max_ns)
    return round(base * (1 + backoff.jitter * (2 * chance - 1)))
