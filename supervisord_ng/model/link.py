"""What two nodes say to each other: the frames of the link, as values. See docs/protocol.md.

The child connects and speaks first. Both sides say again and again how things are (`TreeNow`,
`Order`) instead of what has changed, so a frame may be lost, repeated or late without harm: the
next one says all there is to say.

Every frame carries the sender's boot and a sequence number of that boot. A boot is one life of a
daemon; its name is drawn by chance. A receiver takes a frame only from the boot it shook hands with
and only when its number is higher than all before. Crash reports travel beside the frames: they are
numbered by the sender's store, acknowledged as far as the receiver has stored them, and told apart
by their ids.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from supervisord_ng.model.exits import ExitReason


class TreeNow(msgspec.Struct, frozen=True):
    """How the tree of the child node is at this moment.

    `life` names one life of its root supervisor for ever; None: it has not lived yet. `generation`
    is the highest one that it has obeyed of the orders of the parent's boot `tenure`, 0 for none.
    `reason` is why it ended, when down.
    """

    state: Literal["down", "starting", "up", "stopping"]
    life: str | None
    tenure: str | None
    generation: int
    reason: ExitReason | None = None


class Order(msgspec.Struct, frozen=True):
    """What the parent wants of the child's tree. A lower generation than one obeyed before is an old order.

    `run` of a new generation starts a tree that is down and adopts one that runs.
    """

    wanted: Literal["run", "stop", "kill"]
    generation: int


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Child: here I am, my tree is like this. Repeated until it is welcomed.

    `acked` is how far its crash reports have come: those it sends next follow that number.
    """

    node: str
    boot: str
    seq: int
    tree: TreeNow
    interval_ns: int
    acked: int


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """Parent: I know you. `to` is the boot of the child, `answers` the number of its hello."""

    node: str
    boot: str
    seq: int
    to: str
    answers: int
    order: Order
    interval_ns: int


class ChildBeat(msgspec.Struct, frozen=True, tag="child_beat"):
    """Child: a sign of life, and how the tree is. Sent at the interval, and at once when that changes."""

    boot: str
    seq: int
    to: str
    tree: TreeNow


class ParentBeat(msgspec.Struct, frozen=True, tag="parent_beat"):
    """Parent: a sign of life, and what it wants. Sent at the interval, and at once when that changes."""

    boot: str
    seq: int
    to: str
    order: Order


class Goodbye(msgspec.Struct, frozen=True, tag="goodbye"):
    """Either: my daemon ends in good order; do not take the silence for a fault."""

    boot: str
    seq: int
    to: str


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """Parent: your reports up to number `stored` are durable here."""

    boot: str
    seq: int
    to: str
    stored: int


FromChild = Hello | ChildBeat | Goodbye
FromParent = Welcome | ParentBeat | Goodbye | Ack
