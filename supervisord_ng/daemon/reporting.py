"""From the core's `Report` to the record in the store: the evidence is gathered while it is fresh.

The log's last lines are read at once, before the next incarnation writes. A traceback travels on another wire
than the news of the death, so a report about a worker that could have sent one waits a moment for it; the
restart does not.
"""

from __future__ import annotations

import asyncio
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


class Reporter:
    """Completes reports and hands them on.

    Args:
        loop: of the daemon.
        node: its name.
        log_lines: how many last lines of the log a report holds.
        workers: what is known of the dead.
        lag_ns: the daemon's own lag, shown beside a missed heartbeat.
        keep: takes the complete report.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        node: str,
        log_lines: int,
        workers: Workers,
        lag_ns: Callable[[], int],
        keep: Callable[[CrashReport], None],
    ) -> None:
        self._loop = loop
        self._node = node
        self._log_lines = log_lines
        self._workers = workers
        self._lag_ns = lag_ns
        self._keep = keep
        self._ids = building.IdSource()
        self._waiting: dict[tuple[str, int], Callable[[], None]] = {}

    def report(self, effect: Report, spec: WorkerSpec | None) -> str:
        """Make the report about the child that `effect` names; return its id.

        `spec` is the child's when it is a worker.
        """
        report_id = self._ids.next(int(clock.wall_s() * 1000))
        if effect.context is Context.SHUTDOWN:
            self._keep(self._gave_up(effect, report_id))
            return report_id
        remains = self._workers.remains(effect.path) if spec is not None else None
        if remains is not None and remains.incarnation != effect.incarnation:
            remains = None
        tail: tuple[str, ...] = ()
        if remains is not None and spec is not None:
            written = self._workers.output_bytes(effect.path)
            tail = tuple(logtail.tail(spec.log.file, self._log_lines, written=written))
        lag_ms = self._lag_ns() / limits.MS if effect.beat_age_ns is not None else None
        now = clock.wall_s()

        def finish() -> None:
            self._keep(
                building.build(
                    effect,
                    kind="worker" if spec is not None else "supervisor",
                    node=self._node,
                    evidence=_evidence(remains, tail, lag_ms),
                    now_wall_s=now,
                    report_id=report_id,
                )
            )

        if remains is not None and _may_still_speak(remains, effect):
            self._wait((remains.path, remains.incarnation), finish)
        else:
            finish()
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
        finish = self._waiting.pop((remains.path, remains.incarnation), None)
        if finish is not None:
            finish()

    def flush(self) -> None:
        """Wait no longer for anything: the daemon ends."""
        while self._waiting:
            _, finish = self._waiting.popitem()
            finish()

    def _wait(self, key: tuple[str, int], finish: Callable[[], None]) -> None:
        self._waiting[key] = finish
        self._loop.call_later(limits.CRASH_FRAME_WAIT_NS / limits.SECOND, self._waited, key, finish)

    def _waited(self, key: tuple[str, int], finish: Callable[[], None]) -> None:
        if self._waiting.get(key) is finish:
            del self._waiting[key]
            finish()


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
        message=remains.message or remains.finding,
    )
