"""The rows that ``status`` prints and every other reader of the tree uses. Keys are fixed by the reference."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class State(StrEnum):
    """The state words of a child."""

    WAITING = "waiting"  # an earlier sibling is not ready yet
    STARTING = "starting"  # spawned, not ready
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"  # by an operator, or not autostarted
    EXITED = "exited"  # ended and not to be restarted
    BACKOFF = "backoff"  # waits for its restart
    RESTARTING = (
        "restarting"  # a failed start is being retried, or siblings are being stopped first
    )
    FAILED = "failed"  # could not be started and nobody retries
    LOST = "lost"  # remote: no link


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One child of the tree. The last four are for supervisors only. `intensity` None there is "infinity"."""

    path: str
    name: str
    kind: Literal["worker", "supervisor", "remote"]
    supervisor: str | None
    state: State
    ready: bool
    pid: int | None = None
    incarnation: int
    uptime_s: float | None = None
    restarts: int = 0
    last_exit: str | None = None
    beat_age_s: float | None = None
    status_text: str | None = None
    log_dropped_bytes: int | None = None
    strategy: str | None = None
    intensity: int | None = None
    period_s: float | None = None
    restarts_in_window: int | None = None
    autostart: bool = True
    last_exit_ok: bool | None = None  # whether that end was normal or asked for
    backoff_s: float | None = None  # how long until the restart
    adopted: bool = False  # an earlier daemon has started it


class ParentLink(msgspec.Struct, frozen=True):
    """The node above, or rather our link to it. `node` is None until it has said its name."""

    node: str | None
    link: Literal["up", "down"]
    since: float


class ReportCounts(msgspec.Struct, frozen=True):
    """Reports on disk, on their way there or to the parent, and lost to a bound."""

    stored: int = 0
    waiting: int = 0
    dropped: int = 0


class Rejected(msgspec.Struct, frozen=True):
    """Messages that were counted and dropped, by wire."""

    heartbeat: int = 0
    notify: int = 0
    control: int = 0
    link: int = 0


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer of ``status``. `state` is that of the root supervisor."""

    node: str
    state: State
    pid: int
    version: str
    uptime_s: float
    loop_lag_ms: float
    parent: ParentLink | None = None
    reports: ReportCounts = ReportCounts()
    rejected: Rejected = Rejected()
    children: tuple[Row, ...] = ()
