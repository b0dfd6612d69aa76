"""Times, sizes, percentages and signals: what is read, what is refused, and that writing is the inverse."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisord_ng.config.explain import RefusedError
from supervisord_ng.config.units import (
    DAY,
    DURATION_RULE,
    HOUR,
    MINUTE,
    SIZE_RULE,
    format_duration,
    format_percent,
    format_signal,
    format_size,
    parse_duration,
    parse_percent,
    parse_signal,
    parse_size,
)
from supervisord_ng.limits import DURATION_MAX_NS, KIB, MIB, MS, SECOND
from tests.config.host import RELAXED

DURATIONS = [
    ("250ms", 250 * MS),
    ("5s", 5 * SECOND),
    ("10m", 10 * MINUTE),
    ("1h", HOUR),
    ("30d", 30 * DAY),
    ("1m30s", 90 * SECOND),
    ("1d2h3m4s5ms", DAY + 2 * HOUR + 3 * MINUTE + 4 * SECOND + 5 * MS),
    ("1.5s", 1_500 * MS),
    ("0.000001ms", 1),
    ("0s", 0),
    ("90s", 90 * SECOND),
    (0, 0),
    (5, 5 * SECOND),
    (0.25, 250 * MS),
    (0.1, 100 * MS),
    (1e-9, 1),
]


@pytest.mark.parametrize(("written", "expected"), DURATIONS)
def test_duration_is_read(written: object, expected: int) -> None:
    """A time is nanoseconds; a bare number counts seconds."""
    assert expected == parse_duration(written)


REFUSED_DURATIONS = [
    "", "5", "s", "5 s", " 5s", "5s ", "5S", "5sec", "-5s", "+5s", "5.s", ".5s", "1e3s", "5s5s", "30s1m",
    "1ms1s", "1h 30m", "five", "\N{ARABIC-INDIC DIGIT FIVE}s", "9" * 50 + "s", True, False, None, [], {},
    float("nan"), float("inf"), float("-inf"),
]  # fmt: skip


@pytest.mark.parametrize("written", REFUSED_DURATIONS)
def test_duration_is_refused(written: object) -> None:
    """What is no time is refused by the rule, not by an accident."""
    with pytest.raises(RefusedError) as caught:
        parse_duration(written)
    assert caught.value.must.startswith(DURATION_RULE)


@pytest.mark.parametrize("written", [-1, -0.001])
def test_negative_duration_is_refused(written: float) -> None:
    """No time is below zero."""
    with pytest.raises(RefusedError) as caught:
        parse_duration(written)
    assert caught.value.must == "must not be below zero"


HINTS: list[tuple[Callable[[object], object], object, str | None]] = [
    (parse_duration, "5", 'did you mean "5s"?'),
    (parse_duration, "5 sec", 'did you mean "5s"?'),
    (parse_duration, "1.5 Hours", 'did you mean "1.5h"?'),
    (parse_duration, "3 fortnights", None),
    (parse_size, "64KiB", 'did you mean "64K"?'),
    (parse_size, "50MB", 'did you mean "50M"?'),
    (parse_size, "64k", 'did you mean "64K"?'),
    (parse_size, "64 M", 'did you mean "64M"?'),
    (parse_size, "1024", "bytes are written without quotes"),
    (parse_size, "1.5G", None),
    (parse_percent, 50, 'did you mean "50%"?'),
    (parse_percent, True, None),
    (parse_percent, "half", None),
    (parse_signal, "term", 'did you mean "TERM"?'),
    (parse_signal, "SIGTRM", 'did you mean "TERM"?'),
    (parse_signal, "15", "numbers are written without quotes"),
    (parse_signal, "QQQQQQ", None),
]


@pytest.mark.parametrize(("parse", "written", "expected"), HINTS)
def test_refusal_says_what_was_meant(
    parse: Callable[[object], object], written: object, expected: str | None
) -> None:
    """Other programs' spellings are refused with ours, and nonsense without a guess."""
    with pytest.raises(RefusedError) as caught:
        parse(written)
    assert expected == caught.value.hint


@RELAXED
@given(st.integers(min_value=0, max_value=DURATION_MAX_NS))
def test_duration_round_trip(time_ns: int) -> None:
    """Every time can be written so that it is read again to the nanosecond."""
    assert time_ns == parse_duration(format_duration(time_ns))


@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [
        (0, "0s"),
        (1, "0.000001ms"),
        (250 * MS, "250ms"),
        (27_900 * MS, "27.9s"),
        (90 * SECOND, "1m30s"),
        (HOUR, "1h"),
        (25 * HOUR + 1, "1d1h0.000000001s"),
    ],
)
def test_duration_is_written(time_ns: int, expected: str) -> None:
    """Times are written as a person would."""
    assert expected == format_duration(time_ns)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("64K", 64 * KIB),
        ("512M", 512 * MIB),
        ("2G", 2048 * MIB),
        ("1T", MIB * MIB),
        (0, 0),
        (77, 77),
    ],
)
def test_size_is_read(written: object, expected: int) -> None:
    """Sizes are powers of 1024; a bare number counts bytes."""
    assert expected == parse_size(written)


@pytest.mark.parametrize(
    "written", ["", "K", "1", "1.5G", "64KB", "64k", "-1K", 1.0, True, None, []]
)
def test_size_is_refused(written: object) -> None:
    """What is no size is refused by the rule."""
    with pytest.raises(RefusedError) as caught:
        parse_size(written)
    assert caught.value.must == SIZE_RULE


@RELAXED
@given(st.integers(min_value=0, max_value=2**63))
def test_size_round_trip(size: int) -> None:
    """Every size can be written so that it is read again to the byte."""
    assert size == parse_size(format_size(size))


@RELAXED
@given(st.integers(min_value=1, max_value=10**9).map(lambda number: number / 10**7))
def test_percent_round_trip(fraction: float) -> None:
    """Every share can be written so that the very same number is read again."""
    assert fraction == parse_percent(format_percent(fraction))


@pytest.mark.parametrize(("written", "expected"), [("50%", 0.5), ("200%", 2.0), ("12.5%", 0.125)])
def test_percent_is_read(written: str, expected: float) -> None:
    """A percentage is a fraction of one."""
    assert (expected, written) == (parse_percent(written), format_percent(expected))


@pytest.mark.parametrize("number", sorted(signal.valid_signals()))
def test_signal_round_trip(number: int) -> None:
    """Every signal of this system has a name, with and without SIG, that is read again."""
    name = format_signal(number)
    assert [number] * 3 == [
        parse_signal(name),
        parse_signal(f"SIG{name}"),
        parse_signal(int(number)),
    ]


@pytest.mark.parametrize(
    "written", ["", "SIG", "SIGSIGTERM", "RTMIN+99", "RTMAX+1", 0, 99, -1, 15.0, True, None]
)
def test_signal_is_refused(written: object) -> None:
    """What this system can not send is refused."""
    with pytest.raises(RefusedError):
        parse_signal(written)


def test_realtime_signals_count_from_both_ends() -> None:
    """RTMIN+n and RTMAX-n, as kill(1) has them."""
    expected = [signal.SIGRTMIN + 2, signal.SIGRTMAX - 1, signal.SIGRTMIN]
    assert expected == [parse_signal("RTMIN+2"), parse_signal("SIGRTMAX-1"), parse_signal("RTMIN")]
