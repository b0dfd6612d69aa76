"""Everything that can happen to a node, as frozen values. The shell and the simulator make them.

An event about a child carries the child's path and the incarnation it is about; `core.machine` drops those of
an older incarnation at one place. This file knows nothing of state and of what events lead to.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from supervisord_ng.model.exits import SHUTDOWN, ExitReason, ExitStatus
from supervisord_ng.model.link import FromChild, FromParent
from supervisord_ng.model.spec import ChildSpec, SupervisorSpec


class Spawned(msgspec.Struct, frozen=True, tag="spawned"):
    """Answer to the effect `Spawn`: exec(2) succeeded."""

    path: str
    incarnation: int
    pid: int
    birth: int = 0  # when the kernel started it: with the pid, which is given out again, it names the process


class SpawnFailed(msgspec.Struct, frozen=True, tag="spawn_failed"):
    """Answer to the effect `Spawn`: no process came of it."""

    path: str
    incarnation: int
    reason: ExitReason


class Ignored(msgspec.Struct, frozen=True, tag="ignored"):
    """Answer to the effect `Spawn`: there is nothing to start here (OTP's `ignore`). A success."""

    path: str
    incarnation: int


class BecameReady(msgspec.Struct, frozen=True, tag="became_ready"):
    """The readiness that the specification asks for was seen (OTP's init acknowledgement)."""

    path: str
    incarnation: int


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """The main process of a worker ended.

    `how` is the kernel's word, or a reason where somebody else judged already. `empty` says that nothing else
    of the worker is left; otherwise `Emptied` follows.
    """

    path: str
    incarnation: int
    how: ExitStatus | ExitReason
    empty: bool = True


class Emptied(msgspec.Struct, frozen=True, tag="emptied"):
    """The last process of a worker, whose main process ended earlier, is gone."""

    path: str
    incarnation: int


class Found(msgspec.Struct, frozen=True, tag="found"):
    """A daemon that goes on has found that these ended while nobody looked: all of them."""

    ends: tuple[Exited, ...]


class Disowned(msgspec.Struct, frozen=True, tag="disowned"):
    """Starts of this worker up to this number are not in the state; what was left of them is gone."""

    path: str
    incarnation: int


class Beat(msgspec.Struct, frozen=True):
    """One sign of life. `progress` is the worker's own counter, None when it has none or is idle."""

    path: str
    incarnation: int
    progress: int | None = None


class Beats(msgspec.Struct, frozen=True, tag="beats"):
    """All signs of life of one drained batch: one event, whatever their number."""

    beats: tuple[Beat, ...]


class Unresponsive(msgspec.Struct, frozen=True, tag="unresponsive"):
    """Somebody outside of the core found the worker dead though its process exists (a liveness probe)."""

    path: str
    incarnation: int
    reason: ExitReason


class Dumped(msgspec.Struct, frozen=True, tag="dumped"):
    """The stacks that the effect `Dump` asked for have arrived."""

    path: str
    incarnation: int


class HeartbeatChanged(msgspec.Struct, frozen=True, tag="heartbeat_changed"):
    """The worker set the timeout of its heartbeat for the rest of its life; 0: it is not judged any more."""

    path: str
    incarnation: int
    timeout_ns: int


class Extended(msgspec.Struct, frozen=True, tag="extended"):
    """The worker needs `by_ns` more, from now, to start, to stop or to give its next sign of life."""

    path: str
    incarnation: int
    by_ns: int


class MainChanged(msgspec.Struct, frozen=True, tag="main_changed"):
    """Another process of the worker is its main process from now on."""

    path: str
    incarnation: int
    pid: int
    birth: int = 0  # see `Spawned`


class SelfStopping(msgspec.Struct, frozen=True, tag="self_stopping"):
    """The worker has begun to end by itself."""

    path: str
    incarnation: int


class Lagged(msgspec.Struct, frozen=True, tag="lagged"):
    """The daemon itself was late by `lag_ns`; nobody may be blamed for that time."""

    lag_ns: int


class Tick(msgspec.Struct, frozen=True, tag="tick"):
    """The time `next_deadline` spoke of has come. Carries nothing: `step` expires deadlines by `now`."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """The parent of the root asks it to end (OTP: an exit signal from the parent).

    The trees of nodes below are left as they are, unless `below`.
    """

    reason: ExitReason = SHUTDOWN
    below: bool = False


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """The supervisor with this path dies at once, untrappably, and everything below it."""

    path: str


class Refuse(msgspec.Struct, frozen=True, tag="refuse"):
    """The next start of the local supervisor `path` comes to nothing, as a worker's may by the world's answer.

    `reason` None means that it answers `ignore`. Supervisors are started by the core itself, so this is how
    the world (a scenario, a simulation) has its say; several for one path are used up in order.
    """

    path: str
    reason: ExitReason | None


class Suspend(msgspec.Struct, frozen=True, tag="suspend"):
    """The supervisor handles nothing until `Resume`; what arrives waits in its mailbox (sys:suspend/1)."""

    path: str


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    """Undo `Suspend`."""

    path: str


class Call(msgspec.Struct, frozen=True, tag="call"):
    """A request to the supervisor `path`, answered by the effect `Reply` with the same `request`.

    `op` is a function of supervisor(3), or renew_child: terminate_child and restart_child in one, of any
    restart type, so that not even the death of this daemon comes between. `name` is the child's id. `spec`
    is for start_child, and None there means an instance of the template (simple_one_for_one), to whose
    command `args` are appended. `now` lets restart_child start a child whose retry is pending, as an
    operator expects, where OTP answers {error, restarting}. `incarnation` makes terminate_child mean that
    process and no later one, as the pid does in simple_one_for_one. `used` is the last incarnation number
    that a child to be started ever had.
    """

    path: str
    request: int
    op: Literal[
        "start_child",
        "terminate_child",
        "restart_child",
        "renew_child",
        "delete_child",
        "which_children",
        "count_children",
    ]
    name: str = ""
    spec: ChildSpec | None = None
    args: tuple[str, ...] = ()
    now: bool = False
    incarnation: int | None = None
    used: int = 0


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """The tree is to be as `spec` says from now on, see `core.reload`. Answered by the effect `Reloaded`.

    Requires that `core.reload.refusals` has none. `incarnations` are the last numbers ever used, by path, of
    children that the tree does not have now.
    """

    spec: SupervisorSpec
    request: int
    incarnations: dict[str, int] = {}


class Connected(msgspec.Struct, frozen=True, tag="connected"):
    """There is a new connection on which the node above can be spoken to."""


class FrameFromParent(msgspec.Struct, frozen=True, tag="frame_from_parent"):
    """The node above has said something. The shell has made sure that it is that node."""

    frame: FromParent


class FrameFromChild(msgspec.Struct, frozen=True, gc=False, tag="frame_from_child"):
    """The node below that the remote child `remote` stands for has said something."""

    remote: str
    frame: FromChild


class FramesFromChildren(msgspec.Struct, frozen=True, tag="frames_from_children"):
    """All that nodes below have said in one drained batch, in order: one event, whatever their number."""

    frames: tuple[FrameFromChild, ...]


class ReportStored(msgspec.Struct, frozen=True, tag="report_stored"):
    """The node's own store holds its crash reports (and those of nodes below) up to number `seq`."""

    seq: int


class ReportsOffered(msgspec.Struct, frozen=True, tag="reports_offered"):
    """Reports of the node behind `remote` have come: those after its number `after` up to `upto`."""

    remote: str
    after: int
    upto: int


class ReportsArrived(msgspec.Struct, frozen=True, tag="reports_arrived"):
    """Reports of the node behind `remote`, up to its number `upto`, are durable here."""

    remote: str
    upto: int


Word = Beats | BecameReady | Dumped | HeartbeatChanged | Extended | SelfStopping
"""What a worker says of itself. It was said before it is heard, so hearing it judges nobody."""

Event = (
    Spawned
    | SpawnFailed
    | Ignored
    | BecameReady
    | Exited
    | Emptied
    | Found
    | Disowned
    | Beats
    | Unresponsive
    | Dumped
    | HeartbeatChanged
    | Extended
    | SelfStopping
    | MainChanged
    | Lagged
    | Tick
    | Stop
    | Kill
    | Refuse
    | Suspend
    | Resume
    | Call
    | Reload
    | Connected
    | FrameFromParent
    | FrameFromChild
    | FramesFromChildren
    | ReportStored
    | ReportsOffered
    | ReportsArrived
)
