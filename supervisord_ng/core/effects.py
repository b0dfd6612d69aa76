"""Everything the core can ask of the world, as frozen values, to be carried out in order.

Each effect about a worker is answered: `Spawn` by `Spawned`, `SpawnFailed` or `Ignored`; `AskStop` and `Kill`
by `Exited` in the end; `Dump` by `Dumped` or not at all, the core does not wait for ever. `Report`, `Note`
and `Reply` want no answer.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from supervisord_ng.model.exits import ExitReason
from supervisord_ng.model.link import FromChild, FromParent
from supervisord_ng.model.reports import Context, Decision, EventName
from supervisord_ng.model.spec import WorkerSpec


class Spawn(msgspec.Struct, frozen=True, tag="spawn"):
    """Start this worker."""

    path: str
    incarnation: int
    spec: WorkerSpec


class AskStop(msgspec.Struct, frozen=True, tag="ask_stop"):
    """Ask the worker to end: `signal` to its main process or, when `whole`, to all of it; and the SDK's `stop`.

    `grace_ns` is how long it has (None: for ever). It is told to the worker; the core keeps the time.
    """

    path: str
    incarnation: int
    signal: int
    whole: bool
    grace_ns: int | None


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """SIGKILL to everything that is left of the worker."""

    path: str
    incarnation: int


class Dump(msgspec.Struct, frozen=True, tag="dump"):
    """Collect the stacks of a worker that hangs, before it is killed."""

    path: str
    incarnation: int


class Report(msgspec.Struct, frozen=True, tag="report"):
    """A supervisor report: to be completed with what the shell knows of the dead, and stored.

    `path` is the child it is about. `offender` says what OTP's offender pid would be: the incarnation of a pid,
    "undefined", or with `retrying` {restarting, Incarnation}. `nb_children` replaces it for the grouped
    shutdown errors of simple_one_for_one.
    """

    supervisor: str
    context: Context
    path: str
    offender: int | None
    retrying: bool
    reason: ExitReason
    decision: Decision
    restarts_in_window: int
    intensity: int | None
    period_ns: int
    nb_children: int | None = None
    incarnation: int | None = None
    supervisor_incarnation: int = 0
    beat_age_ns: int | None = None


class Note(msgspec.Struct, frozen=True, tag="note"):
    """Something happened or was decided that people want to follow (``sng events``)."""

    event: EventName
    path: str
    incarnation: int
    kind: Literal["worker", "supervisor", "remote"] = "worker"
    pid: int | None = None
    reason: ExitReason | None = None
    decision: Decision | None = None
    restarts_in_window: int | None = None
    intensity: int | None = None
    period_ns: int | None = None
    delay_ns: int | None = None
    with_siblings: tuple[str, ...] = ()


class Reconfigure(msgspec.Struct, frozen=True, tag="reconfigure"):
    """A worker is specified by `spec` from now on. Whatever runs of it runs on."""

    path: str
    spec: WorkerSpec


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """A worker of which nothing is left belongs to the tree no more."""

    path: str


class FailedStart(msgspec.Struct, frozen=True):
    """A child that a reload wanted to run, and why it does not."""

    path: str
    reason: ExitReason


class Reloaded(msgspec.Struct, frozen=True, tag="reloaded"):
    """The answer to a `Reload`: everything that it asked for is done, but for the starts that failed."""

    request: int
    failed: tuple[FailedStart, ...] = ()


class ChildInfo(msgspec.Struct, frozen=True):
    """One row of which_children: `incarnation` is None for OTP's undefined."""

    name: str
    incarnation: int | None
    restarting: bool
    kind: Literal["worker", "supervisor", "remote"]


class Counts(msgspec.Struct, frozen=True):
    """The answer of count_children."""

    specs: int
    active: int
    supervisors: int
    workers: int


class Reply(msgspec.Struct, frozen=True, tag="reply"):
    """The answer to a `Call`.

    `code` is "ok" or one of supervisor(3)'s refusals: not_found, running, restarting, already_present,
    already_started, simple_one_for_one, noproc, invalid, and start_failed with its `reason`. `incarnation` is
    that of the child that runs now, None where OTP says undefined. `noproc` has the reason with which the
    supervisor ended while the call waited, None when it was dead already.
    """

    request: int
    code: str
    incarnation: int | None = None
    path: str = ""
    reason: ExitReason | None = None
    children: tuple[ChildInfo, ...] | None = None
    counts: Counts | None = None


class TreeUp(msgspec.Struct, frozen=True, tag="tree_up"):
    """The whole tree has come up for the first time."""


class Halt(msgspec.Struct, frozen=True, tag="halt"):
    """The root supervisor has ended and nothing is left running. `asked` says that it was told to."""

    reason: ExitReason
    asked: bool
    chain: tuple[str, ...] = ()


class SendUp(msgspec.Struct, frozen=True, tag="send_up"):
    """Say this to the node above. It may get lost."""

    frame: FromChild


class SendDown(msgspec.Struct, frozen=True, gc=False, tag="send_down"):
    """Say this to the node behind the remote child `remote`. It may get lost."""

    remote: str
    frame: FromParent


class SendReports(msgspec.Struct, frozen=True, tag="send_reports"):
    """Send the reports that the store holds after number `after` up to number `upto` to the node above."""

    after: int
    upto: int


class TakeReports(msgspec.Struct, frozen=True, tag="take_reports"):
    """Store the reports just offered by `remote`; `ReportsArrived` follows when they are durable."""

    remote: str
    upto: int


class ReportsAcked(msgspec.Struct, frozen=True, tag="reports_acked"):
    """The node above holds everything up to number `upto`: remember it, it need never be sent again."""

    upto: int


OfLink = SendDown | SendUp | SendReports | TakeReports | ReportsAcked
Effect = (
    Spawn
    | AskStop
    | Kill
    | Dump
    | Report
    | Note
    | Reconfigure
    | Forget
    | Reloaded
    | Reply
    | TreeUp
    | Halt
    | SendUp
    | SendDown
    | SendReports
    | TakeReports
    | ReportsAcked
)
