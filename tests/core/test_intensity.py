"""The restart window: inclusive at both ends, sliding, and never longer than it has to be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_ng.core.intensity import add_restart, in_window, is_allowed
from supervisord_ng.limits import RESTARTS_KEPT_MAX, SECOND

PERIOD = 5 * SECOND


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, 1), (PERIOD - 1, 1), (PERIOD, 1), (PERIOD + 1, 0), (100 * PERIOD, 0)],
)
def test_a_restart_counts_until_it_is_older_than_the_period(age: int, expected: int) -> None:
    """One exactly as old as the period still does. supervisor.erl, add_restart/1."""
    assert expected == in_window((0,), age, PERIOD)


@pytest.mark.parametrize("intensity", [0, 1, 2, 7])
def test_as_many_as_the_intensity_are_allowed(intensity: int) -> None:
    """The one above it is not. A restart after the end of intensity 0 is refused at once."""
    assert [True] * intensity + [False] == allowed_in_a_row(intensity, intensity + 1)


def test_an_unlimited_intensity_allows_any_number() -> None:
    """None is "infinity" of the configuration."""
    assert [True] * 100 == allowed_in_a_row(None, 100)


def allowed_in_a_row(intensity: int | None, number: int) -> list[bool]:
    """Which of so many restarts at the same moment may be done."""
    restarts: tuple[int, ...] = ()
    allowed = []
    for _ in range(number):
        restarts = add_restart(restarts, 0, PERIOD, intensity)
        allowed.append(is_allowed(restarts, intensity))
    return allowed


def test_the_window_slides() -> None:
    """Two in five seconds for ever: the second is allowed again when the first is too old."""
    restarts: tuple[int, ...] = ()
    allowed = []
    for now in (0, 4, 6, 10, 11):
        restarts = add_restart(restarts, now * SECOND, PERIOD, 2)
        allowed.append(is_allowed(restarts, 2))
    # 0 4 | 4 6 (0 is 6 s old) | 6 10 | 6 10 11: three in five seconds
    assert [True, True, True, True, False] == allowed


def test_an_unlimited_intensity_keeps_a_bounded_number() -> None:
    """What is kept is for `status` only."""
    restarts: tuple[int, ...] = ()
    for now in range(RESTARTS_KEPT_MAX + 10):
        restarts = add_restart(restarts, now, PERIOD, None)
    assert RESTARTS_KEPT_MAX + 1 == len(restarts)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 3 * PERIOD), min_size=1, max_size=30),
    st.integers(1, PERIOD),
    st.integers(0, 4),
)
def test_the_window_is_that_of_the_definition(gaps: list[int], period: int, intensity: int) -> None:
    """Kept: not older than the period, newest first, and no more than the one above the limit."""
    restarts: tuple[int, ...] = ()
    now, all_of_them = 0, []
    for gap in gaps:
        now += gap
        all_of_them.append(now)
        restarts = add_restart(restarts, now, period, intensity)
        in_period = [then for then in reversed(all_of_them) if then >= now - period]
        assert tuple(in_period[: intensity + 1]) == restarts
        assert (len(in_period) <= intensity) == is_allowed(restarts, intensity)
