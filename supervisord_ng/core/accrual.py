"""The phi accrual failure detector: how long a silence has to be before it is beyond belief.

Theory of operation. "The phi accrual failure detector" (Hayashibara and others, 2004) learns from the
intervals in which signs of life came. A silence has a suspicion phi, which grows with it: whoever calls a
worker hung at phi is wrong about a healthy one once in 10**phi. The formulas are Akka's
(remote/PhiAccrualFailureDetector.scala), with all times in one unit:

    y   = (silence - (mean + pause)) / max(deviation, deviation_min)
    e   = exp(-y * (1.5976 + 0.070566 * y**2))          an approximation of the normal distribution's tail
    phi = -log10(e / (1 + e))                           Akka's two branches are this one, written twice

Akka asks for phi now and then. Here nothing is asked now and then, so the formula is solved for the silence at
which phi reaches the threshold: that is a deadline like any other. The cubic in y has one real root.

`pause` is Akka's acceptable-heartbeat-pause: what `timeout` leaves beside one interval. So a worker that beats
like a clock is suspected a little after `timeout`, and one that beats irregularly is given more by what it has
shown.
"""

from __future__ import annotations

import math
from operator import mul

from supervisord_ng.core.state import Arrivals
from supervisord_ng.limits import (
    MS,
    PHI_DEVIATION_MIN,
    PHI_INTERVALS_MAX,
    PHI_TIMEOUTS_MAX,
)
from supervisord_ng.model.spec import Heartbeat

_LINEAR, _CUBIC = 1.5976, 0.070566


def first(heartbeat: Heartbeat, now: int) -> Arrivals:
    """The first sign of life: what came before is taken to be as configured, give or take a quarter."""
    interval = heartbeat.interval_ns
    return Arrivals(now, (interval - interval // 4, interval + interval // 4))


def another(arrivals: Arrivals, heartbeat: Heartbeat, timeout_ns: int, now: int) -> Arrivals:
    """A further sign of life. A silence that was beyond belief is not learnt from, nor one of no length."""
    silence = now - arrivals.last
    if silence <= 0 or silence >= patience_ns(arrivals, heartbeat, timeout_ns):
        return Arrivals(max(now, arrivals.last), arrivals.intervals)
    return Arrivals(now, (*arrivals.intervals[1 - PHI_INTERVALS_MAX :], silence))


def patience_ns(arrivals: Arrivals, heartbeat: Heartbeat, timeout_ns: int) -> int:
    """The shortest silence that is beyond belief, in nanoseconds, whole milliseconds.

    Args:
        arrivals: of the signs of life so far.
        heartbeat: for the interval and the threshold.
        timeout_ns: in force for this worker, which may have set its own.
    """
    intervals = arrivals.intervals
    count = len(intervals)
    total = sum(intervals)
    # Exact in integers: the variance of long intervals is a small difference of large numbers.
    variance = (count * sum(map(mul, intervals, intervals)) - total * total) / (count * count)
    deviation = max(math.sqrt(variance), heartbeat.interval_ns * PHI_DEVIATION_MIN)
    pause = max(0, timeout_ns - heartbeat.interval_ns)
    silence = total / count + pause + deviations(heartbeat.threshold) * deviation
    # Whole milliseconds, so that the last bit of another machine's libm does not change a replay.
    patience = math.ceil(silence / MS) * MS
    return min(patience, PHI_TIMEOUTS_MAX * max(timeout_ns, heartbeat.interval_ns))


def deviations(threshold: float) -> float:
    """By how many standard deviations a silence exceeds what is accepted, when phi reaches `threshold`.

    Solves 0.070566 y**3 + 1.5976 y = ln(10**threshold - 1); a cubic without a term in y**2 and with both
    coefficients positive has one real root, by the hyperbolic sine.
    """
    odds = threshold * math.log(10) + math.log1p(-(10**-threshold))
    scale = math.sqrt(3 * _CUBIC / _LINEAR)
    return 2 / scale * math.sinh(math.asinh(3 * odds / (2 * _LINEAR) * scale) / 3)
