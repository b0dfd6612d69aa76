"""The books about a node of a fleet: those of `checkers`, and what it does because of other nodes.

A tree starts and stops by orders of the node above, never by one of an earlier daemon up there. At the node
above, one incarnation of the child stands for one life of the tree below: another life without a judged end of
the first would be a give-up that nobody has counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Self

from supervisord_ng.core import effects, events
from supervisord_ng.core.state import NodeState, Purpose, SupervisorState
from supervisord_ng.model.exits import SHUTDOWN
from supervisord_ng.model.link import Order, ParentBeat, Welcome
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import RemoteSpec, SupervisorSpec
from supervisord_ng.sim.checkers import Checker, Violation
from supervisord_ng.sim.world import Key


class NodeChecker(Checker):
    """Judges one node of a fleet, through all lives of its daemon.

    Attributes:
        counted: how often a restart was counted for each remote child, by path.
        judged: how often the end of each known life of a tree below was one of these.
    """

    def __init__(self, *more: object) -> None:
        super().__init__(*more)  # type: ignore[arg-type]
        self.counted: dict[str, int] = {}
        self.judged: Counter[str] = Counter()
        self._lives: dict[Key, str] = {}  # of trees below, by the incarnation that each stands for
        self._tenure = 0  # the last daemon above with which there was a handshake
        self._begun: set[tuple[str, int]] = (
            set()
        )  # generations of orders by which the tree has started
        self._late = False  # what is said comes from an earlier one
        self._order: Order | None = None  # of the node above, just now
        self._orderer = ""  # the boot of the daemon that it is from

    def anew(self, spec: SupervisorSpec, stopped: Collection[str]) -> Self:
        """Another daemon begins anew; the trees below are learnt anew, what was counted was counted."""
        books = super().anew(spec, stopped)
        books.counted = dict(self.counted)
        books.judged = self.judged.copy()
        books._tenure = self._tenure  # noqa: SLF001 - its own twin
        return books

    def event(self, event: events.Event) -> None:
        """Take note of what is told to the core."""
        self._late, self._order = False, None
        if isinstance(event, events.FrameFromParent):
            self._late = life_number(event.frame.boot) < self._tenure
            if isinstance(event.frame, Welcome | ParentBeat):
                self._order, self._orderer = event.frame.order, event.frame.boot
                if self._order.wanted == "run":
                    self._may_start.add(self._root)
        super().event(event)

    def effect(self, effect: effects.Effect, now: int) -> None:
        """Judge what the core asks for."""
        if self._late:
            raise Violation(
                f"an earlier daemon above has said something, and this follows: {effect}"
            )
        if isinstance(effect, effects.AskStop | effects.Kill):
            self._wanted_gone((effect.path, effect.incarnation))
        elif isinstance(effect, effects.Note):
            if effect.kind == "remote":
                self._remote_note(effect)
            elif effect.path == self._root and effect.event is EventName.STARTING:
                self._starts()
        super().effect(effect, now)

    def decided(self, state: NodeState) -> None:
        """Judge what the node believes of its neighbours, before it acts on that."""
        self._judge_leaving(state.supervisors[self._root])
        for link in state.downlinks.values():
            child = state.supervisors[self._root].children.get(link.path.rpartition("/")[2])
            if child is None or child.life is None:
                continue
            key = (child.path, child.incarnation)
            if self._lives.setdefault(key, child.life) != child.life:
                raise Violation(
                    f"{child.path}: #{child.incarnation} was {self._lives[key]} and is {child.life}:"
                    " nobody has judged its end"
                )
        if state.uplink is not None and state.uplink.tenure is not None:
            self._tenure = max(self._tenure, life_number(state.uplink.tenure))

    def has_to_run(self, path: str) -> bool:
        """Whether a child whose supervisor runs has to run too; of the root the node above says that."""
        return path != self._root and super().has_to_run(path)

    def _starts(self) -> None:
        """The tree starts, by itself when the daemon begins, or by an order: each of these begins it once."""
        if self._order is None:
            return
        order = (self._orderer, self._order.generation)
        if order in self._begun:
            raise Violation(f"{self._root} starts again by order {order[1]} of {order[0]}")
        self._begun.add(order)

    def _wanted_gone(self, key: Key) -> None:
        """Nobody is to end but by a restart that takes it along, with the whole tree, or for being ill."""
        process = self._world.processes.get(key)
        healthy = process is not None and process.main and not self._accounts.is_asked(key)
        leaving = self._supervisors[self._root].leaving
        if healthy and not leaving and key[0] not in self._may_start:
            raise Violation(f"{key[0]}: #{key[1]} is to end, and nothing wants that")

    def _judge_leaving(self, root: SupervisorState) -> None:
        """The root is asked to end by nobody who could say so in a note of it."""
        watched = self._supervisors[self._root]
        leaves = root.plan is not None and root.plan.purpose is Purpose.EXIT
        ordered_to_run = self._order is not None and self._order.wanted == "run"
        if leaves and not watched.leaving and ordered_to_run:
            raise Violation(f"{self._root} stops, and the node above has ordered it to run")
        watched.leaving |= leaves

    def _remote_note(self, note: effects.Note) -> None:
        key = (note.path, note.incarnation)
        if note.event is EventName.RESTARTING:
            self.counted[note.path] = self.counted.get(note.path, 0) + 1
            if key in self._lives:
                self.judged[self._lives[key]] += 1
        elif note.event is EventName.LINK_DOWN and note.reason == SHUTDOWN:
            self._lives.pop(key, None)  # it ends in good order and comes back as another life

    def _account(self, effect: effects.Note | effects.Report) -> None:
        if not isinstance(self._specs.get(effect.path), RemoteSpec):  # silences, more than one
            super()._account(effect)


def life_number(boot: str) -> int:
    """Which daemon of its node this is, by the name of its boot."""
    return int(boot.rpartition("-")[2])
