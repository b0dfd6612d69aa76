"""The restart window: how many restarts a supervisor may do within its period.

supervisor(3), "Tuning the intensity and period"; supervisor.erl, add_restart/1. The window slides, is
inclusive at both ends, and its clock is the caller's monotonic one. OTP floors times to whole seconds; ours
are exact.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import neg

from supervisord_ng.limits import RESTARTS_KEPT_MAX


def add_restart(
    restarts: tuple[int, ...], now: int, period_ns: int, intensity: int | None
) -> tuple[int, ...]:
    """Put a restart at `now` in front of those that are not older than the period.

    Args:
        restarts: times of earlier restarts in nanoseconds, newest first.
        now: the time of this one, not before any of them.
        period_ns: a restart exactly this old still counts.
        intensity: only so many, and the one above the limit, are ever needed.
    """
    kept_max = RESTARTS_KEPT_MAX if intensity is None else intensity
    keep = min(in_window(restarts, now, period_ns), kept_max)
    return (now, *restarts[:keep])


def is_allowed(restarts: tuple[int, ...], intensity: int | None) -> bool:
    """Say whether the newest of `restarts` may be done. None is an unlimited intensity."""
    return intensity is None or len(restarts) <= intensity


def in_window(restarts: tuple[int, ...], now: int, period_ns: int) -> int:
    """Count the restarts that are not older than the period at `now`."""
    return bisect_right(
        restarts, period_ns - now, key=neg
    )  # newest first, so their negatives ascend
