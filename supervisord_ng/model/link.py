"""What two nodes say to each other: the frames of the link, as values. See docs/protocol.md.

The child connects and speaks first. Both sides say again and again how things are (`TreeNow`,
`Order`) instead of what has changed, so a frame may be lost, repeated or late without harm: the
next one says all there is to say.

Every frame carries the sender's boot and a sequence number of that boot. A boot is one life of a
daemon; its name is drawn by chance. A receiver takes a frame only from the boot it shook hands with
and only when its number is higher than all before. Crash reports (`Reports`) and operators' requests
(`Ask`, `Part`, `Done`) travel beside those frames and carry numbers of their own: reports are
numbered by the sender's store, acknowledged as far as the receiver has stored them, and told apart
by their ids; a request is repeated until its whole answer has come.

What is said again and again has `gc=False`: the flight recorder keeps thousands of these values, which the
garbage collector would go through time and again, and values of values have no cycles.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from supervisord_ng import limits
from supervisord_ng.model.exits import ExitReason
from supervisord_ng.model.names import NAME_PATTERN

Name = Annotated[
    str,
    msgspec.Meta(max_length=limits.NAME_LENGTH_MAX, pattern=rf"\A{NAME_PATTERN.pattern}\Z"),
]
Mark = Annotated[str, msgspec.Meta(max_length=limits.LINK_MARK_MAX, pattern=r"\A[0-9A-Za-z_.-]+\Z")]
"""What names a boot or a life."""
Known = Annotated[str, msgspec.Meta(max_length=limits.LINK_MARK_MAX)]
"""A mark that is only compared with one that was read as a `Mark`."""
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Interval = Annotated[int, msgspec.Meta(ge=limits.LINK_INTERVAL_MIN_NS, le=limits.DURATION_MAX_NS)]
Route = Annotated[tuple[Name, ...], msgspec.Meta(max_length=limits.LINK_ROUTE_MAX)]
"""Names of nodes, each below the one before."""


class TreeNow(msgspec.Struct, frozen=True, gc=False):
    """How the tree of the child node is at this moment.

    `life` names one life of its root supervisor for ever; None: it has not lived yet. `generation`
    is the highest one that it has obeyed of the orders of the parent's boot `tenure`, 0 for none.
    `reason` is why it ended, when down.
    """

    state: Literal["down", "starting", "up", "stopping"]
    life: Known | None
    tenure: Known | None
    generation: Number
    reason: ExitReason | None = None


class Order(msgspec.Struct, frozen=True, gc=False):
    """What the parent wants of the child's tree. A lower generation than one obeyed before is an old order.

    `run` of a new generation starts a tree that is down and adopts one that runs.
    """

    wanted: Literal["run", "stop", "kill"]
    generation: Number


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Child: here I am, my tree is like this. Repeated until it is welcomed.

    `acked` is how far its crash reports have come: those it sends next follow that number.
    """

    node: Name
    boot: Mark
    seq: Number
    tree: TreeNow
    interval_ns: Interval
    acked: Number


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """Parent: I know you. `to` is the boot of the child, `answers` the number of its hello."""

    node: Name
    boot: Mark
    seq: Number
    to: Known
    answers: Number
    order: Order
    interval_ns: Interval


class ChildBeat(msgspec.Struct, frozen=True, gc=False, tag="child_beat"):
    """Child: a sign of life, and how the tree is. Sent at the interval, and at once when that changes."""

    boot: Known
    seq: Number
    to: Known
    tree: TreeNow


class ParentBeat(msgspec.Struct, frozen=True, gc=False, tag="parent_beat"):
    """Parent: a sign of life, and what it wants. Sent at the interval, and at once when that changes."""

    boot: Known
    seq: Number
    to: Known
    order: Order


class Goodbye(msgspec.Struct, frozen=True, tag="goodbye"):
    """Either: my daemon ends in good order; do not take the silence for a fault."""

    boot: Known
    seq: Number
    to: Known


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """Parent: your reports up to number `stored` are durable here."""

    boot: Known
    seq: Number
    to: Known
    stored: Number


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Parent: this connection is not taken, and `why`. Before a handshake, so there is no boot to speak of."""

    why: Annotated[str, msgspec.Meta(max_length=limits.LINK_WORDS_MAX)]


class Reports(msgspec.Struct, frozen=True, tag="reports"):
    """Child: crash reports of my store, those with numbers above `after` up to `upto`, in that order.

    `packed` is what `wire.parcel` makes of them, at most LINK_PACKED_MAX bytes, `size` how long it is when
    unpacked. Numbers may be missing: those reports are not kept any more.
    """

    boot: Known
    to: Known
    after: Number
    upto: Number
    size: Number
    packed: bytes


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Parent: an operator up here asks this of your node, or of the node at the end of `route` below it.

    `id` grows within the parent's boot. `got` parts of the answer are here, so some more may be sent.
    Repeated until the whole answer has come. `request` is a line of docs/control-protocol.md; `uid` and
    `pid` are those of the operator, on the node that is called `asker`.
    """

    boot: Known
    to: Known
    id: Number
    got: Number
    route: Route
    asker: Name
    uid: Number
    pid: Number
    request: bytes


class Part(msgspec.Struct, frozen=True, tag="part"):
    """Child: part `number`, from 1, of the lines that answer request `id`; the last one says `end`."""

    boot: Known
    to: Known
    id: Number
    number: Number
    body: bytes
    end: bool


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Parent: the whole answer to request `id` is here, or nobody waits for it any more."""

    boot: Known
    to: Known
    id: Number


# What comes most comes first: isinstance() of such a union takes its types in turn.
FromChild = ChildBeat | Hello | Goodbye
FromParent = ParentBeat | Welcome | Goodbye | Ack
BesideFromChild = Reports | Part
BesideFromParent = Ask | Done
AnyFromChild = FromChild | BesideFromChild
AnyFromParent = FromParent | BesideFromParent | Refused
