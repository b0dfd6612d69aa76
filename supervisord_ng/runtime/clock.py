"""The two clocks: one that only the core's deadlines go by, one that people read. Never mixed."""

from __future__ import annotations

import time


def monotonic_ns() -> int:
    """Nanoseconds of CLOCK_MONOTONIC (clock_gettime(2)), the same for all processes of one boot.

    Restart windows and deadlines go by it because nobody can set it: NTP and operators move the
    wall clock, which would forgive or invent restarts. It stands still while the host is suspended,
    unlike CLOCK_BOOTTIME, so that no worker is found hung for the time in which nobody ran. systemd
    reads the same clock in MONOTONIC_USEC (sd_notify(3)).
    """
    return time.monotonic_ns()


def wall_s() -> float:
    """Seconds since the epoch, for reports and events; may jump, so it decides nothing."""
    return time.time()
