"""From what the core decided and what the shell knows of the dead, the one record that is kept.

Pure but for `IdSource`, which is handed its clock reading and its randomness. Must not know where
the evidence comes from or where the report goes; that is `runtime` and `reports.store`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

import msgspec

from supervisord_ng import limits
from supervisord_ng.core import effects
from supervisord_ng.model.names import leaf, parent
from supervisord_ng.model.reports import CrashReport, Usage

_COUNTER_BITS = 12  # rand_a of RFC 9562
_RANDOM_BITS = 62  # rand_b
_WALL_MS_MAX = (1 << 48) - 1  # unix_ts_ms
_CUT_MARK = "... {} characters cut ..."


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the shell knows of an incarnation that ended.

    `started` and `ended` are seconds since the epoch. Whatever is not known stays None: a
    supervisor has no pid, a start that failed has no usage.
    """

    pid: int | None = None
    started: float | None = None
    ended: float | None = None
    core_dumped: bool = False
    traceback: str | None = None
    stacks: str | None = None
    log_tail: tuple[str, ...] = ()
    usage: Usage | None = None
    lag_ms: float | None = None
    adopted: bool = False
    message: str | None = None


NO_EVIDENCE = Evidence()


class IdSource:
    """Makes the ids of one process: UUIDv7, strictly increasing in the order of creation.

    RFC 9562, section 6.2, method 1: rand_a is a counter, seeded with chance for each new
    millisecond and its top bit left free. When it is used up, or the wall clock is set back, the
    time inside the id runs ahead of the clock instead, as the section allows.
    """

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        """`random` returns that many random bytes."""
        self._random = random
        self._last_ms = -1
        self._counter = 0

    def next(self, wall_ms: int) -> str:
        """Return a new id. `wall_ms` is milliseconds since the epoch, from 0 to 2**48 - 1."""
        assert 0 <= wall_ms <= _WALL_MS_MAX, f"not a time in milliseconds: {wall_ms}"
        if wall_ms > self._last_ms:
            self._advance(wall_ms)
        elif self._counter + 1 < 1 << _COUNTER_BITS:
            self._counter += 1
        else:
            self._advance(self._last_ms + 1)
        version, variant = 0b0111, 0b10
        rand_b = int.from_bytes(self._random(8), "big") >> (64 - _RANDOM_BITS)
        value = self._last_ms << 80 | version << 76 | self._counter << 64 | variant << 62 | rand_b
        digits = f"{value:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def _advance(self, wall_ms: int) -> None:
        self._last_ms = wall_ms
        self._counter = int.from_bytes(self._random(2), "big") >> (16 - _COUNTER_BITS + 1)


def build(
    effect: effects.Report,
    *,
    kind: Literal["worker", "supervisor", "remote"],
    node: str,
    evidence: Evidence,
    now_wall_s: float,
    report_id: str,
) -> CrashReport:
    """Complete the core's report.

    Args:
        effect: what the core decided, and about whom.
        kind: what the child at `effect.path` is.
        node: the name of this node.
        evidence: what is known of the dead incarnation; `NO_EVIDENCE` for a supervisor.
        now_wall_s: seconds since the epoch; the report's `ended` when the evidence does not say.
        report_id: from `IdSource.next`.

    Returns:
        The report. Its texts are valid Unicode and within the bounds of `limits`.
    """
    return CrashReport(
        id=report_id,
        node=node,
        path=effect.path,
        worker=leaf(effect.path) if kind == "worker" else None,
        incarnation=effect.offender if effect.incarnation is None else effect.incarnation,
        pid=evidence.pid,
        started=evidence.started,
        ended=now_wall_s if evidence.ended is None else evidence.ended,
        reason=effect.reason.text,
        core_dumped=evidence.core_dumped,
        context=effect.context,
        decision=effect.decision,
        restarts_in_window=effect.restarts_in_window,
        intensity=effect.intensity,
        period_s=effect.period_ns / limits.SECOND,
        ancestors=ancestors(effect.path),
        traceback=_keep_end(evidence.traceback, limits.TRACEBACK_MAX),
        stacks=_keep_start(evidence.stacks, limits.STACKS_MAX),
        log_tail=tuple(_as_unicode(line) for line in evidence.log_tail),
        usage=evidence.usage,
        beat_age_s=None if effect.beat_age_ns is None else effect.beat_age_ns / limits.SECOND,
        lag_ms=evidence.lag_ms,
        adopted=evidence.adopted,
        message=None if evidence.message is None else _as_unicode(evidence.message),
    )


def ancestors(path: str) -> tuple[str, ...]:
    """The paths of the supervisors above `path`, nearest first."""
    above: list[str] = []
    supervisor = parent(path)
    while supervisor:
        above.append(supervisor)
        supervisor = parent(supervisor)
    return tuple(above)


def _as_unicode(text: str) -> str:
    """Write lone surrogates out: file names that are not UTF-8 bring them, JSON has none."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _keep_end(text: str | None, length_max: int) -> str | None:
    """Cut a traceback at its start: Python prints the most recent call last."""
    if text is None or len(text) <= length_max:
        return None if text is None else _as_unicode(text)
    mark = _CUT_MARK.format(len(text) - length_max)
    return mark + "\n" + _as_unicode(text[-length_max:])


def _keep_start(text: str | None, length_max: int) -> str | None:
    """Cut stacks at their end: faulthandler prints the most recent call first."""
    if text is None or len(text) <= length_max:
        return None if text is None else _as_unicode(text)
    mark = _CUT_MARK.format(len(text) - length_max)
    return _as_unicode(text[:length_max]) + "\n" + mark
