"""The working copy of one step. The only mutable thing of the core; it lives as long as one call of `step`.

What a step changes is copied when it is first changed and shared otherwise, so that a step costs what it
touches: `step` hands in a frozen state, and `finish` hands a new one back. Nothing else keeps a `Turn`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from msgspec.structs import replace

from supervisord_ng.core import backoff
from supervisord_ng.core.effects import Effect, Forget
from supervisord_ng.core.events import BecameReady, Exited, Refuse
from supervisord_ng.core.state import (
    ChildState,
    Downlink,
    NodeState,
    Order,
    Outcome,
    SupervisorState,
)
from supervisord_ng.limits import GIVE_UPS_KEPT
from supervisord_ng.model import names
from supervisord_ng.model.spec import RemoteSpec, SupervisorSpec, WorkerSpec

Internal = Order | Outcome | BecameReady | Exited


class Turn:
    """One step in the making.

    `now` is its time, `effects` what it asks of the world, `inbox` what the parts of the tree have still to
    tell one another before the step is over. `told` are the remote children that may have to be told something
    when it is. `links` are those to the nodes below by the name of the remote child, to be read only. `node` is
    the state but for its supervisors and these links.
    """

    __slots__ = (
        "_copied",
        "_deadline_moved",
        "_inexact",
        "_links_at",
        "_links_copied",
        "_supervisors",
        "_supervisors_copied",
        "effects",
        "inbox",
        "links",
        "node",
        "now",
        "told",
    )

    def __init__(self, state: NodeState, now: int) -> None:
        self._supervisors = state.supervisors
        self._supervisors_copied = False
        self._copied: set[str] = set()  # supervisors whose `children` are this turn's own
        self._deadline_moved = False
        self._inexact: set[str] = set()  # supervisors whose earliest deadline has to be looked for
        self.links = state.downlinks
        self._links_copied = False
        self._links_at = state.links_at
        self.now = now
        self.told: dict[str, None] = {}
        self.effects: list[Effect] = []
        self.inbox: deque[Internal] = deque()
        self.node = state

    @property
    def root(self) -> str:
        """The path of the root supervisor."""
        return self.node.root

    @property
    def supervisors(self) -> dict[str, SupervisorState]:
        """All supervisors by path; to be read only."""
        return self._supervisors

    def supervisor(self, path: str) -> SupervisorState:
        """The supervisor at `path`, which must exist."""
        return self._supervisors[path]

    def child(self, path: str) -> ChildState | None:
        """The child record at `path`, kept by its supervisor; None when there is none (or no longer)."""
        supervisor = self._supervisors.get(names.parent(path))
        return None if supervisor is None else supervisor.children.get(names.leaf(path))

    def living_child(self, path: str) -> ChildState:
        """The child record at `path` as it is now; it must exist."""
        child = self.child(path)
        assert child is not None, path
        return child

    def update(self, path: str, **changes: Any) -> None:
        """Change fields of the supervisor at `path` as it is now; its children have methods of their own."""
        self._put(replace(self._supervisors[path], **changes))

    def add(self, supervisor: SupervisorState) -> None:
        """Add a supervisor that was not there."""
        assert supervisor.path not in self._supervisors, supervisor.path
        self._put(supervisor)

    def put_child(self, child: ChildState) -> None:
        """Put a child into its place in its supervisor; a new one goes to the end of the start order."""
        path = names.parent(child.path)
        children = self._own_children(path)
        name = child.spec.name
        before = children.get(name)
        children[name] = child
        old = None if before is None else before.deadline
        if old != child.deadline:
            self._move_deadline(path, old, child.deadline)
        if isinstance(child.spec, RemoteSpec):
            self._keep_link(child, child.spec)

    def remove_child(self, path: str) -> None:
        """Forget a child, and the supervisors below it; its incarnation number is never used again."""
        above = names.parent(path)
        gone = self._own_children(above).pop(names.leaf(path))
        used = [self._supervisors[above].retired, gone.last_number]
        if isinstance(gone.spec, WorkerSpec):
            self.emit(Forget(path))
        elif isinstance(gone.spec, RemoteSpec):
            self.drop_link(gone.name)
        elif isinstance(gone.spec, SupervisorSpec):
            inside = f"{path}/"
            for other in [p for p in self._supervisors if p == path or p.startswith(inside)]:
                supervisor = self._supervisors[other]
                used += [supervisor.retired, *(c.last_number for c in supervisor.children.values())]
                for child in supervisor.children.values():
                    if isinstance(child.spec, WorkerSpec):
                        self.emit(Forget(child.path))
                    elif isinstance(child.spec, RemoteSpec):
                        self.drop_link(child.name)
                self._remove(other)
        self.update(above, retired=max(used))
        self._move_deadline(above, gone.deadline, None)

    def set_children(self, path: str, children: dict[str, ChildState]) -> None:
        """Replace all children of a supervisor by a dictionary that nobody else holds."""
        self.update(path, children=children)
        self._copied.add(path)
        self.look_again(path)
        for child in children.values():
            if isinstance(child.spec, RemoteSpec):
                self._keep_link(child, child.spec)

    def put_link(self, name: str, link: Downlink) -> None:
        """Put a link into its place."""
        if not self._links_copied:
            self.links = dict(self.links)
            self._links_copied = True
        self.links[name] = link
        first = self._links_at
        for time in (link.beat_at, link.judge_at):
            if time is not None and (first is None or time < first):
                first = self._links_at = time

    def drop_link(self, name: str) -> None:
        """Forget a link; what still comes over it says nothing."""
        self.links = {other: link for other, link in self.links.items() if other != name}
        self._links_copied = True
        self.told.pop(name, None)

    def look_at_links_again(self) -> None:
        """Find the earliest time that a link waits for."""
        links = self.links.values()
        times = [link.beat_at for link in links if link.beat_at is not None]
        times += [link.judge_at for link in links if link.judge_at is not None]
        self._links_at = min(times, default=None)

    @property
    def links_due(self) -> bool:
        """Whether a link may wait for a time that has come."""
        return self._links_at is not None and self._links_at <= self.now

    def _keep_link(self, child: ChildState, spec: RemoteSpec) -> None:
        """There is a link for each remote child, by its specification of now."""
        link = self.links.get(child.name)
        if link is None:
            self.put_link(child.name, Downlink(child.path, spec))
        elif link.spec is not spec or link.path != child.path or link.judged is not None:
            self.put_link(child.name, replace(link, path=child.path, spec=spec, judged=None))
        self.told[child.name] = None

    def look_again(self, path: str) -> None:
        """Find the earliest deadline of this supervisor's children anew when the step is over."""
        self._inexact.add(path)

    def emit(self, effect: Effect) -> None:
        """Ask this of the world when the step is over, after what was asked before."""
        self.effects.append(effect)

    def change(self, **changes: Any) -> None:
        """Change fields of the node that are not its supervisors."""
        self.node = replace(self.node, **changes)

    def take_refusal(self, path: str) -> Refuse | None:
        """Use up what the world has said beforehand about a start of the supervisor at `path`."""
        refusals = self.node.refusals
        for at, refusal in enumerate(refusals):
            if refusal.path == path:
                self.change(refusals=(*refusals[:at], *refusals[at + 1 :]))
                return refusal
        return None

    def take_stopped(self, path: str) -> set[str]:
        """Use up what operators had stopped of this supervisor's children before the node booted."""
        found = {stopped for stopped in self.node.stopped if names.parent(stopped) == path}
        if found:
            self.change(stopped=self.node.stopped - found)
        return {names.leaf(stopped) for stopped in found}

    def note_give_up(self, why: str) -> None:
        """Remember why a supervisor gave up, for the last words of the daemon; only so many are kept."""
        self.change(chain=(*self.node.chain, why)[-GIVE_UPS_KEPT:])

    def chance(self) -> float:
        """A number in [0, 1) from the node's own generator."""
        seed, drawn = backoff.next_random(self.node.seed)
        self.change(seed=seed)
        return drawn

    def finish(self) -> tuple[NodeState, tuple[Effect, ...]]:
        """The new state and all effects, in order."""
        assert not self.inbox, "a step ends only when everything inside has been told"
        deadline = self.node.deadline
        if self._inexact or self._deadline_moved:
            for path in sorted(self._inexact):
                if path in self._supervisors:
                    self._find_deadline(path)
            supervisors = self._supervisors.values()
            deadline = min(
                (s.deadline for s in supervisors if s.deadline is not None), default=None
            )
        state = replace(
            self.node,
            supervisors=self._supervisors,
            deadline=deadline,
            downlinks=self.links,
            links_at=self._links_at,
        )
        return state, tuple(self.effects)

    def _move_deadline(self, path: str, old: int | None, new: int | None) -> None:
        """Keep the supervisor's deadline not later than any of its children's, None when none has one.

        The earliest is not looked for when one moves later or goes: a beat would cost as much as there are
        children. The supervisor's is too early then; when it comes, nothing is due and it is looked for.
        """
        supervisor = self._supervisors[path]
        waiting = supervisor.waiting + (new is not None) - (old is not None)
        deadline = supervisor.deadline
        if waiting == 0:
            deadline = None
        elif new is not None and (deadline is None or new < deadline):
            deadline = new
        if deadline != supervisor.deadline:
            self._deadline_moved = True
        if (deadline, waiting) != (supervisor.deadline, supervisor.waiting):
            self.update(path, deadline=deadline, waiting=waiting)

    def _find_deadline(self, path: str) -> None:
        children = self._supervisors[path].children.values()
        deadlines = [child.deadline for child in children if child.deadline is not None]
        self.update(path, deadline=min(deadlines, default=None), waiting=len(deadlines))

    def _own_children(self, path: str) -> dict[str, ChildState]:
        if path not in self._copied:
            self.update(path, children=dict(self._supervisors[path].children))
            self._copied.add(path)
        return self._supervisors[path].children

    def _put(self, supervisor: SupervisorState) -> None:
        self._own_supervisors()[supervisor.path] = supervisor

    def _remove(self, path: str) -> None:
        del self._own_supervisors()[path]

    def _own_supervisors(self) -> dict[str, SupervisorState]:
        if not self._supervisors_copied:
            self._supervisors = dict(self._supervisors)
            self._supervisors_copied = True
        return self._supervisors
