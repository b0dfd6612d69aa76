"""The arithmetic of backoff against intensity, against every way in which a worker could crash."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisord_ng.config.advice import least_span, unreachable
from supervisord_ng.limits import MS, SECOND
from supervisord_ng.model.spec import Backoff
from tests.config.host import RELAXED

BACKOFFS = st.builds(
    lambda initial, more, factor, jitter, reset: Backoff(
        initial_ns=initial,
        max_ns=initial + more,
        factor=factor,
        jitter=jitter,
        reset_after_ns=reset,
    ),
    st.integers(min_value=1, max_value=10 * SECOND),
    st.integers(min_value=0, max_value=60 * SECOND),
    st.floats(min_value=1, max_value=5),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.integers(min_value=1, max_value=60 * SECOND),
)


def brute_span(backoff: Backoff, waits: int) -> int:
    """The shortest time for so many waits over every choice of runs that begin the row again."""
    best: int | None = None
    for starts_over in itertools.product((False, True), repeat=max(waits - 1, 0)):
        span, tries = 0, 0
        for resets in (False, *starts_over)[:waits]:
            if resets:
                span, tries = span + backoff.reset_after_ns, 0
            wait = min(backoff.initial_ns * backoff.factor**tries, backoff.max_ns)
            span += round(round(wait) * (1 - backoff.jitter))
            tries += 1
        best = span if best is None else min(best, span)
    assert best is not None
    return best


@RELAXED
@given(BACKOFFS, st.integers(min_value=0, max_value=7))
def test_least_span_is_the_least(backoff: Backoff, waits: int) -> None:
    """No choice of crashes is quicker than what the warning calls the least, to rounding."""
    assert least_span(backoff, waits) == pytest.approx(brute_span(backoff, waits), abs=waits + 1)


@RELAXED
@given(BACKOFFS, st.integers(min_value=0, max_value=6), st.integers(1, 60 * SECOND))
def test_warning_exactly_when_unreachable(backoff: Backoff, intensity: int, period: int) -> None:
    """There is a warning if and only if the crashes that giving up takes can not fall into a period."""
    span = least_span(backoff, intensity)
    assert (span > period) == (unreachable(backoff, intensity, period) is not None)


def test_defaults_can_be_reached() -> None:
    """The default backoff under the default intensity does not keep a supervisor from giving up."""
    assert None is unreachable(Backoff(), 5, 10 * SECOND)


def test_a_short_reset_makes_it_reachable() -> None:
    """A worker that runs for `reset_after` between crashes waits `initial` each time."""
    slow = Backoff(initial_ns=100 * MS, max_ns=60 * SECOND, factor=10, jitter=0)
    assert None is not unreachable(slow, 5, 10 * SECOND)
    assert None is unreachable(
        Backoff(
            initial_ns=100 * MS, max_ns=60 * SECOND, factor=10, jitter=0, reset_after_ns=SECOND
        ),
        5,
        10 * SECOND,
    )


def test_large_intensity_is_no_burden() -> None:
    """The highest intensity is judged at once: only the answer is asserted, the suite's timeout waits."""
    assert None is not unreachable(Backoff(), 1_000_000, 10 * SECOND)
