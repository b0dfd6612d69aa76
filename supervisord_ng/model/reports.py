"""Crash reports and events: what a failure leaves behind, and what was decided, as values.

The field names are the JSON keys of the reference and therefore fixed. Times are seconds since the epoch,
sizes bytes. A missing value is None.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Context(StrEnum):
    """OTP's errorContext, supervisor(3) and sasl's "SUPERVISOR REPORT"."""

    START_ERROR = "start_error"
    CHILD_TERMINATED = "child_terminated"
    SHUTDOWN_ERROR = "shutdown_error"
    SHUTDOWN = "shutdown"  # a supervisor gave up: reached_max_restart_intensity


class Decision(StrEnum):
    """What the supervisor made of it."""

    RESTART = "restart"
    GIVE_UP = "give_up"
    NONE = "none"
    REMOVED = "removed"  # a temporary child: its specification is gone with it


class Usage(msgspec.Struct, frozen=True):
    """What wait4(2) says the worker used."""

    max_rss_bytes: int
    user_s: float
    system_s: float


class CrashReport(msgspec.Struct, frozen=True, kw_only=True):
    """One crash, failed start, bad shutdown or give-up. `worker` is None when `path` is a supervisor or remote.

    `id` is a UUIDv7. `via` are the nodes it came through, nearest to its origin first. `ancestors` are the
    paths of the supervisors above, nearest first.
    """

    id: str
    node: str
    via: tuple[str, ...] = ()
    path: str
    worker: str | None
    incarnation: int | None
    pid: int | None = None
    started: float | None = None
    ended: float
    reason: str
    core_dumped: bool = False
    context: Context
    decision: Decision
    restarts_in_window: int
    intensity: int | None  # None is "infinity"
    period_s: float
    ancestors: tuple[str, ...] = ()
    traceback: str | None = None
    stacks: str | None = None
    log_tail: tuple[str, ...] = ()
    usage: Usage | None = None
    beat_age_s: float | None = None
    lag_ms: float | None = None
    adopted: bool = False
    message: str | None = None  # one line for people: which step failed, on what


class EventName(StrEnum):
    """The words of the event stream."""

    STARTING = "starting"
    STARTED = "started"
    READY = "ready"
    START_FAILED = "start_failed"
    EXITED = "exited"
    CRASHED = "crashed"
    RESTARTING = "restarting"
    GAVE_UP = "gave_up"
    STOPPING = "stopping"
    STOPPED = "stopped"
    KILLED = "killed"
    ADOPTED = "adopted"
    COMMAND = "command"
    RELOAD = "reload"
    LINK_UP = "link_up"
    LINK_DOWN = "link_down"
    REPORT_SENT = "report_sent"
    SHUTDOWN = "shutdown"
    UPGRADE = "upgrade"


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``sng events``. `seq` grows by one for each event of a daemon's life."""

    seq: int
    time: float
    node: str
    event: EventName
    path: str | None
    incarnation: int | None
    pid: int | None = None
    reason: str | None = None
    kind: str | None = None  # "worker" | "supervisor" | "remote"
    decision: Decision | None = None
    restarts_in_window: int | None = None
    intensity: int | None = None
    period_s: float | None = None
    delay_s: float | None = None  # a back-off that is waited for
    with_siblings: tuple[str, ...] = ()  # who is stopped and started together with it
    report: str | None = None  # id of the crash report
    verb: str | None = None  # of an operator's command
    uid: int | None = None
    detail: str | None = None
