"""What each word of systemd's protocol means here; sd_notify(3) says what it means there."""

from __future__ import annotations

import pytest

from supervisord_ng import limits
from supervisord_ng.core.events import (
    Beat,
    Beats,
    Event,
    Extended,
    HeartbeatChanged,
    SelfStopping,
    Unresponsive,
)
from supervisord_ng.errors import ProtocolError
from supervisord_ng.limits import MS, SECOND
from supervisord_ng.model.exits import HEARTBEAT_TIMEOUT
from supervisord_ng.runtime.sdnotify import Meaning, meaning

A = ("root/a", 7)  # whoever speaks


def of(*assignments: str) -> Meaning:
    """The meaning of these lines."""
    return meaning(dict(line.split("=", 1) for line in assignments), *A)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("WATCHDOG=1", Beats((Beat(*A),))),
        ("WATCHDOG=trigger", Unresponsive(*A, HEARTBEAT_TIMEOUT)),
        ("WATCHDOG_USEC=1500000", HeartbeatChanged(*A, 1500 * MS)),
        ("WATCHDOG_USEC=0", HeartbeatChanged(*A, 0)),
        ("WATCHDOG_USEC=18446744073709551615", HeartbeatChanged(*A, 0)),
        ("EXTEND_TIMEOUT_USEC=20000000", Extended(*A, 20 * SECOND)),
        ("EXTEND_TIMEOUT_USEC=18446744073709551615", Extended(*A, limits.DURATION_MAX_NS)),
        ("STOPPING=1", SelfStopping(*A)),
    ],
)
def test_words_that_are_events(said: str, expected: Event) -> None:
    """One each; for ever is no time at all, or the longest that there is."""
    assert (expected,) == of(said).events


def test_words_that_are_for_people() -> None:
    """What it does now, and why it fails; strerror(3) is asked here, once."""
    assert "warming up" == of("STATUS=warming up", "RELOADING=1").status
    assert "reloading" == of("RELOADING=1", "MONOTONIC_USEC=1234").status
    assert "no such file or directory (ERRNO=2)" == of("ERRNO=2").failure
    assert "D-Bus error: org.example.Broken" == of("BUSERROR=org.example.Broken").failure
    assert limits.STATUS_TEXT_MAX == len(of("STATUS=" + 2000 * "x").status or "")


def test_ready_is_told_apart_from_what_follows() -> None:
    """READY=1 in one datagram with a beat: both count, in this order."""
    told = of("READY=1", "WATCHDOG=1")
    assert (True, (Beats((Beat(*A),)),)) == (told.ready, told.events)


def test_the_end_comes_before_more_time_for_it() -> None:
    """STOPPING=1 with EXTEND_TIMEOUT_USEC gives the stop more time, not what was before."""
    told = of("EXTEND_TIMEOUT_USEC=60000000", "STOPPING=1")
    assert [SelfStopping, Extended] == [type(event) for event in told.events]


def test_who_is_the_main_process() -> None:
    """Its number, and what makes that certain."""
    told = of("MAINPID=4711", "MAINPIDFDID=18446744073709551615")
    assert (4711, 2**64 - 1) == (told.main_pid, told.main_id)


@pytest.mark.parametrize(
    "said",
    [
        *("READY=0", "STOPPING=0", "WATCHDOG=2", "RELOADING=0", "BARRIER=1", "X_OURS=1"),
        *("FDSTORE=1", "FDSTOREREMOVE=1", "FDNAME=x", "FDPOLL=0", "NOTIFYACCESS=main"),
        *("EXIT_STATUS=3", "MAINPIDFD=1", "MONOTONIC_USEC=1"),
    ],
)
def test_what_has_no_meaning_here_says_nothing(said: str) -> None:
    """As systemd: unknown words, and known ones with another value, are ignored."""
    assert Meaning() == of(said)


@pytest.mark.parametrize(
    "said",
    [
        *("WATCHDOG_USEC=", "WATCHDOG_USEC=-1", "WATCHDOG_USEC=1s", "EXTEND_TIMEOUT_USEC=1.5"),
        *("EXTEND_TIMEOUT_USEC=1_000", "MAINPID=x", "MAINPID=²", "ERRNO=0", "ERRNO=99999"),
        "EXTEND_TIMEOUT_USEC=" + 30 * "9",
    ],
)
def test_what_is_no_number_is_refused(said: str) -> None:
    """Nothing of such a notification counts, not even its other words."""
    with pytest.raises(ProtocolError, match=r"^cannot read notification: no (number|errno): "):
        of("READY=1", said)
