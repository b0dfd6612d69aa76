"""From the core's `Report` to the record in the store: the evidence is gathered while it is fresh.

Two things travel slower than the news of the death: the last lines on their way to the log, and a traceback on
another wire. A report waits a bounded time for both; the restart does not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from supervisord_ng import limits
from supervisord_ng.core.effects import Report
from supervisord_ng.model.remains import Remains
from supervisord_ng.model.reports import Context, CrashReport
from supervisord_ng.model.spec import WorkerSpec
from supervisord_ng.reports import build as building
from supervisord_ng.reports import logtail
from supervisord_ng.runtime import clock
from supervisord_ng.runtime.workers import Workers

_TAIL, _TRACEBACK = "tail", "traceback"
_NO_TAIL = "[supervisord-ng: the disk was too slow to read the log]"


class Reporter:
    """Completes reports and hands them on.

    Args:
        loop: of the daemon.
        node: its name.
        log_lines: how many last lines of the log a report holds.
        workers: what is known of the dead.
        lag_ns: the daemon's own lag, shown beside a missed heartbeat.
        expect: told the id of a report when it is begun.
        keep: takes the complete report.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        node: str,
        log_lines: int,
        workers: Workers,
        lag_ns: Callable[[], int],
        expect: Callable[[str], None],
        keep: Callable[[CrashReport], None],
    ) -> None:
        self._loop = loop
        self._node = node
        self.log_lines = log_lines
        self._workers = workers
        self._lag_ns = lag_ns
        self._expect = expect
        self._keep = keep
        self._ids = building.IdSource()
        self._unfinished: deque[_Pending] = deque()
        self._tracebacks: dict[tuple[str, int], _Pending] = {}  # who waits for which

    def report(self, effect: Report, spec: WorkerSpec | None) -> str:
        """Make the report about the child that `effect` names; return its id.

        `spec` is the child's when it is a worker.
        """
        report_id = self._ids.next(int(clock.wall_s() * 1000))
        self._expect(report_id)
        if effect.context is Context.SHUTDOWN:
            gave_up = self._gave_up(effect, report_id)
            self._begin(lambda _: gave_up)
            self._advance()
            return report_id
        remains = self._workers.remains(effect.path) if spec is not None else None
        if remains is not None and remains.incarnation != effect.incarnation:
            remains = None
        lag_ms = self._lag_ns() / limits.MS if effect.beat_age_ns is not None else None
        now = clock.wall_s()

        def make(tail: tuple[str, ...]) -> CrashReport:
            return building.build(
                effect,
                kind="worker" if spec is not None else "supervisor",
                node=self._node,
                evidence=_evidence(remains, tail, lag_ms),
                now_wall_s=now,
                report_id=report_id,
            )

        pending = self._begin(make)
        if remains is not None and spec is not None:
            if "log" in (spec.launch.stdout, spec.launch.stderr):
                self._await_tail(pending, remains, spec)
            if _may_still_speak(remains, effect):
                self._tracebacks[remains.path, remains.incarnation] = pending
                self._await(pending, _TRACEBACK, limits.CRASH_FRAME_WAIT_NS)
        self._advance()
        return report_id

    def _gave_up(self, effect: Report, report_id: str) -> CrashReport:
        """A supervisor gave up: the report is about it, and names the child that was too much.

        Of OTP's report the child is the offender; its own end has a report of its own, just before.
        """
        why = f"because of {effect.path}, which it may not restart once more"
        return building.build(
            replace(effect, path=effect.supervisor, incarnation=effect.supervisor_incarnation),
            kind="supervisor",
            node=self._node,
            evidence=building.Evidence(message=why),
            now_wall_s=clock.wall_s(),
            report_id=report_id,
        )

    def traceback_arrived(self, remains: Remains) -> None:
        """The traceback that a report waited for is there."""
        pending = self._tracebacks.get((remains.path, remains.incarnation))
        if pending is not None:
            self._arrived(pending, _TRACEBACK)

    def flush(self) -> None:
        """Wait no longer for anything: the daemon ends."""
        for pending in tuple(self._unfinished):
            for what in tuple(pending.awaited):
                self._arrived(pending, what)

    def _begin(self, make: Callable[[tuple[str, ...]], CrashReport]) -> _Pending:
        """Reports are kept in the order of their ids, so one that waits holds up those after it."""
        pending = _Pending(make)
        self._unfinished.append(pending)
        return pending

    def _await(self, pending: _Pending, what: str, time_ns: int) -> None:
        delay_s = time_ns / limits.SECOND
        pending.awaited[what] = self._loop.call_later(delay_s, self._arrived, pending, what)

    def _arrived(self, pending: _Pending, what: str) -> None:
        """It is there, or will not come in time."""
        timer = pending.awaited.pop(what, None)
        if timer is not None:
            timer.cancel()
            self._advance()

    def _advance(self) -> None:
        while self._unfinished and not self._unfinished[0].awaited:
            pending = self._unfinished.popleft()
            self._keep(pending.make(pending.tail))
        self._tracebacks = {key: it for key, it in self._tracebacks.items() if it.awaited}

    def _await_tail(self, pending: _Pending, remains: Remains, spec: WorkerSpec) -> None:
        """Read the last lines when the writer of logs has come so far."""
        lines, log = self.log_lines, spec.log
        is_json = log.format == "json"

        def read(written: int) -> tuple[str, ...]:
            # Of one that is adopted nobody knows where in the log its output begins.
            own = None if remains.adopted else written
            return tuple(logtail.tail(log.file, lines, written=own, is_json=is_json))

        def done(tail: tuple[str, ...]) -> None:
            pending.tail = tail
            self._arrived(pending, _TAIL)

        pending.tail = (_NO_TAIL,)
        self._await(pending, _TAIL, limits.LOG_TAIL_WAIT_NS)
        self._workers.read_log(remains.path, read, done)


class _Pending:
    """A report that may wait for evidence."""

    def __init__(self, make: Callable[[tuple[str, ...]], CrashReport]) -> None:
        self.make = make
        self.tail: tuple[str, ...] = ()
        self.awaited: dict[str, asyncio.TimerHandle] = {}  # until when


def _may_still_speak(remains: Remains, effect: Report) -> bool:
    """Whether a traceback may be on its way: the SDK was there, and it was no signal that ended it."""
    ended_by_itself = effect.context in (Context.CHILD_TERMINATED, Context.START_ERROR)
    by_exit = "exit:" in effect.reason.text
    return remains.spoke and remains.traceback is None and ended_by_itself and by_exit


def _evidence(
    remains: Remains | None, tail: tuple[str, ...], lag_ms: float | None
) -> building.Evidence:
    if remains is None:
        return building.NO_EVIDENCE
    return building.Evidence(
        pid=remains.pid,
        started=remains.started,
        ended=remains.ended,
        core_dumped=remains.core_dumped,
        traceback=remains.traceback,
        stacks=remains.stacks,
        log_tail=tail,
        usage=remains.usage,
        lag_ms=lag_ms,
        adopted=remains.adopted,
        message=remains.message or remains.finding,
    )
