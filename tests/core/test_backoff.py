"""The delay before a restart: grows, has a cap, stays within its jitter, and comes from the seed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_ng.core.backoff import delay_ns, next_random
from supervisord_ng.limits import MS, SECOND
from supervisord_ng.model.spec import Backoff

EVEN = 0.5  # the chance that leaves a delay as it is
BACKOFFS = st.builds(
    Backoff,
    initial_ns=st.integers(1, 10 * SECOND),
    max_ns=st.integers(10 * SECOND, 3600 * SECOND),
    factor=st.floats(1.0, 10.0),
    jitter=st.floats(0.0, 1.0),
)


def test_no_backoff_no_delay() -> None:
    """OTP has none."""
    assert delay_ns(None, 7, EVEN) == 0


@pytest.mark.parametrize(
    ("tries", "expected"), [(0, 100), (1, 200), (2, 400), (6, 6400), (7, 10000), (10**9, 10000)]
)
def test_it_doubles_up_to_the_cap(tries: int, expected: int) -> None:
    """Initial, then `factor` times as long each time, then `max`; a huge number of tries is no overflow."""
    backoff = Backoff(100 * MS, 10 * SECOND, factor=2.0, jitter=0.1)
    assert expected * MS == delay_ns(backoff, tries, EVEN)


@settings(deadline=None)
@given(BACKOFFS, st.integers(0, 1000), st.floats(0.0, 1.0, exclude_max=True))
def test_it_stays_within_its_jitter(backoff: Backoff, tries: int, chance: float) -> None:
    """Plus or minus that fraction of the delay without it."""
    plain = delay_ns(backoff, tries, EVEN)
    spread = backoff.jitter * plain
    assert plain - spread - 1 <= delay_ns(backoff, tries, chance) <= plain + spread + 1
    assert 0 <= plain <= backoff.max_ns


@settings(deadline=None)
@given(BACKOFFS, st.floats(0.0, 1.0, exclude_max=True))
def test_it_never_shrinks(backoff: Backoff, chance: float) -> None:
    """With the same luck a later try waits at least as long."""
    delays = [delay_ns(backoff, tries, chance) for tries in range(100)]
    assert all(early <= late for early, late in pairwise(delays))


def test_chance_is_that_of_splitmix64() -> None:
    """Vigna's splitmix64.c, seed 0: its first three numbers."""
    seed, drawn = 0, []
    for _ in range(3):
        seed, chance = next_random(seed)
        drawn.append(chance)
    numbers = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)
    assert [number / 2**64 for number in numbers] == drawn


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_chance_is_in_the_unit_interval(seed: int) -> None:
    """From 0, and below 1; the next seed is one again."""
    following, chance = next_random(seed)
    assert 0.0 <= chance < 1.0
    assert 0 <= following < 2**64
