"""The books about one history: who is there, who is wanted, what has been asked, as events and effects tell it.

They are only kept here; `checkers` judges by them.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import Self

from supervisord_ng.core import effects, events
from supervisord_ng.model import names
from supervisord_ng.model.spec import ChildSpec, Restart, SupervisorSpec, WorkerSpec
from supervisord_ng.sim.accounts import Accounts
from supervisord_ng.sim.copies import copied
from supervisord_ng.sim.requests import Requests
from supervisord_ng.sim.watched import Supervisors, Watched
from supervisord_ng.sim.world import Key, World


class Books:
    """Of one daemon after the other."""

    def __init__(
        self,
        spec: SupervisorSpec,
        world: World,
        accounts: Accounts | None = None,
        stopped: Collection[str] = (),
    ) -> None:
        self._world = world
        self._supervisors = Supervisors()
        self._root = spec.name
        self._told: dict[str, int] = {}  # path -> incarnation that the core believes in
        self._starting: set[str] = set()  # children whose start has begun and not come to its end
        self._may_start: set[str] = {spec.name}  # whom a boot or a restart is going to start once
        self._spawning: set[str] = set()
        self._found: set[Key] = set()  # just now, by a daemon that begins, to have ended
        self._requests = Requests()
        self._accounts = accounts or Accounts()
        self._edited = (
            False  # there was one: whose start has which reason is not followed any further
        )
        self._specs: dict[str, ChildSpec] = {}
        # permanent children that need not run: nobody wants them to
        self._excused: set[str] = set(stopped)
        self._left_alone: set[str] = set(stopped)  # by the first start of their supervisor
        self.halted: effects.Halt | None = None
        self._learn(spec.name, spec)

    def _learn(self, path: str, spec: ChildSpec) -> None:
        self._specs[path] = spec
        if isinstance(spec, SupervisorSpec):
            self._supervisors[path] = Watched(spec, [child.name for child in spec.children])
            for child in spec.children:
                self._learn(names.join(path, child.name), child)

    # --- the daemon is killed ----------------------------------------
    def copy(self) -> Self:
        """The books as they are now."""
        return copied(self)

    def resumed(
        self,
        spec: SupervisorSpec,
        under_way: Container[int],
        removed: Collection[str],
        added: Mapping[str, ChildSpec],
    ) -> None:
        """Another daemon goes on by this file.

        Args:
            spec: what the file says.
            under_way: the calls that it carries out.
            removed: the paths of those that have no place in the tree any more.
            added: those that no file has put there, by path.
        """
        for path in sorted(removed):
            self._told.pop(path, None)
            self._forgotten(path)
            if path in self._supervisors:
                self._supervisors[path].alive = self._supervisors[path].booting = False
        self._starting -= set(removed)
        self._spawning -= set(removed)
        self._accounts.removed(removed)
        edited = self._supervisors[self._root].spec != spec
        self._requests.orphaned(under_way, edited=edited)
        for path in sorted(self._spawning):  # nobody knows how these went: they are made again
            self._starting.discard(path)
            self._may_start.add(path)
        self._spawning.clear()
        if not edited:
            return
        forgotten = {path: one.forgotten() for path, one in self._supervisors.items()}
        self._edit(spec)
        for path, gone in forgotten.items():  # and stay so, which a reload would change
            self._supervisors[path].order = [
                name for name in self._supervisors[path].order if name not in gone
            ]
        self._specs |= added
        for path, one in added.items():
            if isinstance(one, SupervisorSpec):
                self._supervisors[path].respecified(one)

    def anew(self, spec: SupervisorSpec, stopped: Collection[str]) -> Self:
        """Another daemon begins anew; who was stopped by an operator stays so."""
        self._accounts.anew(self._world.processes)
        return type(self)(spec, self._world, self._accounts, stopped)

    # --- events ----------------------------------------
    def event(self, event: events.Event) -> None:
        """Take note of what is told to the core."""
        self._found.clear()
        match event:
            case events.Spawned(path=path, incarnation=incarnation):
                self._told[path] = incarnation
                self._spawning.discard(path)
                self._accounts.spawned((path, incarnation))
            case events.SpawnFailed(path=path):
                self._starting.discard(path)
                self._spawning.discard(path)
            case events.Ignored(path=path):
                self._starting.discard(path)
                self._spawning.discard(path)
                self._excused.add(path)
                self._gone(path)
            case events.Found(ends=ends):
                self._found = {(end.path, end.incarnation) for end in ends}
                self._accounts.found(self._found, self._starting)
                for end in ends:
                    self._gone(end.path)
            case events.Exited(path=path, empty=True) | events.Emptied(path=path):
                self._gone(path)
            case events.Call():
                self._requests.called(event)
                path = names.join(event.path, event.name)
                if event.spec is not None and path not in self._specs:
                    self._learn(path, event.spec)
            case events.Reload():
                self._requests.reloaded(event.request)
                self._edit(event.spec)
            case events.Stop():
                self._supervisors[self._root].leaving = True
            case _:
                pass

    def _edit(self, spec: SupervisorSpec) -> None:
        self._edited = True
        self._reload(self._root, spec)

    def _reload(self, path: str, spec: SupervisorSpec) -> None:
        self._supervisors[path].respecified(spec)
        for child in spec.children:
            child_path = names.join(path, child.name)
            if isinstance(child, SupervisorSpec) and child_path in self._supervisors:
                self._specs[child_path] = child
                self._reload(child_path, child)
            else:
                self._learn(child_path, child)
            if isinstance(child, WorkerSpec) and not child.autostart:
                self._excused.add(child_path)

    def _gone(self, path: str) -> None:
        self._told.pop(path, None)
        if path not in self._starting:
            self._forgotten_if_temporary(path)
        self._starting.discard(path)

    def _forgotten_if_temporary(self, path: str) -> None:
        # Who is stopped by a reload keeps its place; whom a reload finds ended is forgotten when it matters.
        if self._specs[path].restart is Restart.TEMPORARY and not self._requests.reloading:
            self._forgotten(path)

    def _forgotten(self, path: str) -> None:
        """Its supervisor keeps no specification of it; started again it will be the last."""
        order = self._supervisors[names.parent(path)].order
        if names.leaf(path) in order:
            order.remove(names.leaf(path))

    def _younger(self, path: str) -> list[str]:
        supervisor = names.parent(path)
        order = self._supervisors[supervisor].order
        at = order.index(names.leaf(path))
        return [names.join(supervisor, name) for name in order[at + 1 :]]

    def _exists(self, path: str) -> bool:
        watched = self._supervisors.get(path)
        return path in self._told or (watched is not None and watched.alive)

    def has_to_run(self, path: str) -> bool:
        """Whether a child whose supervisor runs has to run too: permanent, and nobody stopped it."""
        return (
            path in self._specs
            and self._specs[path].restart is Restart.PERMANENT
            and (path not in self._excused)
        )

    def specs(self) -> list[ChildSpec]:
        """Every specification there ever was."""
        return list(self._specs.values())

    def unanswered(self) -> list[str]:
        """The calls and reloads that nobody has answered yet, as words."""
        return self._requests.unanswered()

    def unaccounted(self) -> list[Key]:
        """The incarnations of whom nobody has said that they have come, or gone."""
        return self._accounts.unaccounted(self._world.processes, self._world.living())
