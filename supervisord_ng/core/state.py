"""The state of a node: a flat map of supervisors, each with its children in start order.

Values only; what becomes of them is in `child` (one child's life) and `supervisor` (everything a supervisor
decides). Dictionaries here are read-only by agreement: `turn.Turn` makes the copies that change. Their order
is meaning: children stand in start order (supervisor(3) keeps the same list reversed).

Two questions about a child have to be kept apart, as OTP does:

- `standing` is what its supervisor believes, OTP's `pid` field of the child record: UP (a pid), DOWN
  (undefined) or RESTARTING ({restarting, _}). It changes only when the supervisor handles something.
- `phase` is what the child is really doing, by the last event about it. A child may be dead (`phase` is
  DOWN) while its supervisor, busy with something else, still holds it for running (`standing` is UP); the
  message about its end then waits in the supervisor's mailbox.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from supervisord_ng.core.effects import FailedStart
from supervisord_ng.core.events import Call, Refuse
from supervisord_ng.model.exits import ExitReason
from supervisord_ng.model.link import Order as RemoteOrder
from supervisord_ng.model.link import TreeNow
from supervisord_ng.model.spec import ChildSpec, ParentSpec, RemoteSpec, SupervisorSpec

Kind = Literal["worker", "supervisor", "remote"]


class Standing(StrEnum):
    """What a supervisor believes of a child (the pid field of OTP's child record)."""

    UP = "up"
    DOWN = "down"
    RESTARTING = "restarting"


class Phase(StrEnum):
    """What a child is doing. One deadline belongs to each phase, see `ChildState.deadline`."""

    DOWN = "down"  # nothing of it is left. Deadline: the pending restart, if it waits for one
    LOST = "lost"  # of a remote: wanted, and there is no link to its node. No deadline
    SPAWNING = "spawning"  # `Spawn` is on its way. No deadline: the kernel answers
    STARTING = "starting"  # it exists and is not ready. Deadline: start timeout
    RUNNING = "running"  # it is ready. Deadline: the next sign of life
    DUMPING = "dumping"  # it hangs and its stacks are being collected. Deadline: waited long enough
    STOPPING = "stopping"  # it was asked to end. Deadline: the end of its `shutdown` time
    KILLING = "killing"  # SIGKILL was sent. Deadline: send it again


class Idle(StrEnum):
    """Why a child that is DOWN, and not to be restarted, is so. The words are those of `status`."""

    WAITING = "waiting"
    STOPPED = "stopped"
    EXITED = "exited"
    FAILED = "failed"


class Arrivals(msgspec.Struct, frozen=True):
    """When signs of life came: the last one, and the intervals before it, the oldest first, in nanoseconds."""

    last: int
    intervals: tuple[int, ...]


class ChildState(msgspec.Struct, frozen=True):
    """One child. Times are monotonic nanoseconds."""

    spec: ChildSpec
    path: str
    standing: Standing = Standing.DOWN
    phase: Phase = Phase.DOWN
    incarnation: int = 0  # of the running process, else of the last one; 0: never started
    used: int = 0  # numbers up to this one may have been used by an earlier daemon
    offender: int | None = None  # whom `standing` speaks of: Pid or OldPid of {restarting, OldPid}
    deadline: int | None = None
    pid: int | None = None
    birth: int = 0  # what tells its process from a later one of this pid, see `events.Spawned`
    since: int | None = None  # when this incarnation was spawned
    ready: bool = False
    cause: ExitReason | None = None  # why it is dying, when that is known before it is gone
    asked: bool = False  # its supervisor wants its end, so its end is no crash
    last_beat: int | None = None  # last sign of life of this incarnation
    progress: int | None = None
    arrivals: Arrivals | None = None  # of signs of life, for who is judged by them
    excused: int = 0  # silences since the last sign of life that were put down to our own lag
    beat_timeout: int | None = None  # set by this incarnation itself, 0: none; None: as specified
    idle: Idle = Idle.WAITING
    by_operator: bool = False  # stopped by an operator
    last_exit: ExitReason | None = None
    beat_age: int | None = None  # silence before the last end, when it was a hang
    restarts: int = 0  # automatic restarts since the child was added
    tries: int = 0  # restarts in a row, for the back-off
    counted: bool = False  # the restart that `deadline` waits for is in the window already
    dynamic: bool = False  # added at run time; forgotten when its supervisor restarts
    renew: bool = False  # a reload wants it started, anew if it runs
    removed: bool = False  # a reload wants it gone
    life: str | None = None  # of a remote: of the tree below, once it runs on our behalf

    @property
    def name(self) -> str:
        """The child's id."""
        return self.spec.name

    @property
    def last_number(self) -> int:
        """The highest incarnation number that may have been used."""
        return max(self.incarnation, self.used)

    @property
    def kind(self) -> Kind:
        """What the child is, in the words of the reference."""
        if isinstance(self.spec, SupervisorSpec):
            return "supervisor"
        return "remote" if isinstance(self.spec, RemoteSpec) else "worker"


class Purpose(StrEnum):
    """What a plan is for, which decides what follows when it is carried out or fails."""

    BOOT = "boot"
    RESTART = "restart"
    CALL = "call"
    RELOAD = "reload"
    EXIT = "exit"


class Plan(msgspec.Struct, frozen=True):
    """What a busy supervisor is doing: stop some children, then start some, then say so.

    That is the whole repertoire of supervisor(3): a boot starts all; a restart stops the range its strategy
    names and starts it again; terminate_child stops one; an end stops all. A reload stops what goes or has
    changed and starts what is new or has changed. `stop` is in the order of
    stopping, `start` in the order of starting; `stop_at` and `start_at` count what is dealt with. A child at
    its place is waited for before the next one is touched, unless `parallel`.
    """

    purpose: Purpose
    stop: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    stop_at: int = 0
    start_at: int = 0
    parallel: bool = False
    asked_all: bool = False  # parallel: everyone has been asked
    brutal: bool = False  # EXIT of a killed supervisor: nobody is asked
    child: str = ""  # RESTART: whose restart it is
    retrying: bool = False  # RESTART: an earlier attempt failed
    delay_ns: int = 0  # RESTART: the pause between stopping and starting
    call: Call | None = None
    resume: Plan | None = (
        None  # CALL, RELOAD: the plan that was interrupted, and goes on afterwards
    )
    reason: ExitReason | None = None  # EXIT: what the supervisor ends with
    errors: tuple[
        ExitReason, ...
    ] = ()  # bad ends met by an EXIT of simple_one_for_one, reported together


# --- what stands in a mailbox --------------------------------------------------------------------
class ChildEnded(msgspec.Struct, frozen=True, tag="child_ended"):
    """A child ended and its supervisor had not asked for it (OTP's 'EXIT' message)."""

    name: str
    incarnation: int
    reason: ExitReason


class Retry(msgspec.Struct, frozen=True, tag="retry"):
    """OTP's {try_again_restart, Id}, cast by a supervisor to itself."""

    name: str
    incarnation: int


class ParentStop(msgspec.Struct, frozen=True, tag="parent_stop"):
    """The parent asks this supervisor to end (an exit signal of the parent)."""

    reason: ExitReason


class Reconcile(msgspec.Struct, frozen=True, tag="reconcile"):
    """Children are marked by a reload: act on the marks."""


# --- what a parent orders and what becomes of a start: never wait in a mailbox -------------------
class StartTree(msgspec.Struct, frozen=True):
    """A parent starts the supervisor at `path`. `automatic`: because of a restart, not of an operator."""

    path: str
    incarnation: int
    automatic: bool


class StopTree(msgspec.Struct, frozen=True):
    """A parent asks the supervisor at `path` to end."""

    path: str
    reason: ExitReason


class KillTree(msgspec.Struct, frozen=True):
    """The supervisor at `path` dies untrappably, and all below it of the broken link."""

    path: str


class ChildStarted(msgspec.Struct, frozen=True):
    """The start of child `name` of the supervisor at `path` came to its end; `ignored`: without a process."""

    path: str
    name: str
    ignored: bool = False


class ChildStartFailed(msgspec.Struct, frozen=True):
    """The start of child `name` failed and nothing of it is left."""

    path: str
    name: str
    reason: ExitReason


class ChildGone(msgspec.Struct, frozen=True):
    """Child `name`, which had been started, has ended and nothing of it is left."""

    path: str
    name: str
    incarnation: int
    reason: ExitReason


Order = StartTree | StopTree | KillTree
Outcome = ChildStarted | ChildStartFailed | ChildGone
Message = ChildEnded | Retry | ParentStop | Reconcile | Call


class SupervisorState(msgspec.Struct, frozen=True):
    """One supervisor. `plan` is None when it waits for messages; `alive` is False when it has no process."""

    spec: SupervisorSpec
    path: str
    incarnation: int = 0
    alive: bool = False
    booted: bool = False
    automatic: bool = False  # this life of it is a restart that nobody ordered
    suspended: bool = False
    children: dict[str, ChildState] = {}
    restarts: tuple[int, ...] = ()  # when, newest first; nothing older than the period
    plan: Plan | None = None
    mailbox: tuple[Message, ...] = ()
    deadline: int | None = None  # not later than that of any child; None: no child has one
    waiting: int = 0  # how many children have one
    retired: int = 0  # the highest incarnation of a child that was deleted


class Downlink(msgspec.Struct, frozen=True):
    """The link to the node below whose root is the remote child at `path`. Times are monotonic."""

    path: str
    spec: RemoteSpec
    peer: str | None = None  # the boot that it shook hands with; None: no link
    last: str | None = None  # the boot that it shook hands with last, link or no link
    former: tuple[str, ...] = ()  # boots of that node that are over
    doubted: str | None = (
        None  # the boot before `last`, until that answers: its hello may have been late
    )
    answer: int | None = None  # the number of a hello to be answered
    interval_ns: int = 0  # between beats: the shorter of both nodes'
    seq: int = 0  # of the last frame sent
    heard_seq: int = 0  # of the last frame taken
    beat_at: int | None = None
    judge_at: int | None = None
    taken: int = 0  # its crash reports up to this number are here, or being written
    said: RemoteOrder | None = None  # the last order told
    judged: TreeNow | None = None  # the tree as last told, until the child's record changes


class Outbox(msgspec.Struct, frozen=True):
    """How far the crash reports of this node have come, as numbers of its own store."""

    stored: int = 0
    acked: int = 0
    sent: int = 0
    resend_at: int | None = None


class Uplink(msgspec.Struct, frozen=True):
    """The link to the node above. Times are monotonic."""

    spec: ParentSpec
    peer: str | None = None  # the boot of the parent that it shook hands with; None: no link
    parent: str | None = None  # the name that it gave last
    interval_ns: int = 0  # between beats: the shorter of both nodes'
    tenure: str | None = None  # the boot whose orders `generation` belongs to
    seq: int = 0
    first_hello: int = 0  # a welcome that answers an earlier hello is a late one
    heard_seq: int = 0
    beat_at: int | None = None
    judge_at: int | None = None
    partition_at: int | None = None
    generation: int = 0
    said: TreeNow | None = None
    outbox: Outbox = Outbox()


class Reloading(msgspec.Struct, frozen=True):
    """A reload under way: which supervisors have still to act on it, and what could not be started."""

    request: int
    waiting: tuple[str, ...]
    failed: tuple[FailedStart, ...] = ()


class NodeState(msgspec.Struct, frozen=True):
    """The whole node. `supervisors` maps a path to its supervisor, parents before their children."""

    root: str
    supervisors: dict[str, SupervisorState]
    deadline: int | None  # the earliest of the supervisors'
    seed: int  # of the generator of back-off jitter
    stop_asked: bool = False
    stop_below: bool = False  # ... with the trees of the nodes below
    up_announced: bool = False
    halted: bool = False
    refusals: tuple[Refuse, ...] = ()
    stopped: frozenset[str] = frozenset()  # whom a first start leaves alone, by path
    name: str = ""
    boot: str = ""  # the name of this life of the daemon, for the nodes above and below
    predecessor: str | None = None  # of the daemon whose tree this one goes on with
    life: str | None = None  # of the root supervisor
    ended: ExitReason | None = (
        None  # why the root ended, while the parent node decides what follows
    )
    uplink: Uplink | None = None
    downlinks: dict[str, Downlink] = {}  # by the name of the remote child
    links_at: int | None = None  # not later than anything that one of them waits for
    reloads: tuple[Reloading, ...] = ()
    chain: tuple[str, ...] = ()  # why supervisors gave up, oldest first; told when the root ends
