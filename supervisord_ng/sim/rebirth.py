"""What a simulated daemon that is killed leaves behind, and how the next one begins with that.

The rules are those of `daemon.beginning`, for processes and a disk that are simulated too. The disk may be
behind: what it says was true at one moment, with the reports up to that. The notes of starts are not behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from supervisord_ng import limits
from supervisord_ng.core import machine, memory, succession
from supervisord_ng.core.effects import Effect
from supervisord_ng.core.events import Disowned, Exited, Found, Tick
from supervisord_ng.core.memory import Memory
from supervisord_ng.core.state import ChildState, NodeState, Plan
from supervisord_ng.model.exits import UNKNOWN
from supervisord_ng.model.spec import ChildSpec, LaunchSpec, ParentSpec, SupervisorSpec, WorkerSpec
from supervisord_ng.sim.births import Birth
from supervisord_ng.sim.checkers import Checker
from supervisord_ng.sim.world import Key, World


class Journal(NamedTuple):
    """What the disk says.

    Args:
        state: of the node, as it was.
        reserved: the incarnation numbers that may have been used, by path.
        books: of the simulator, as they were.
    """

    state: NodeState
    reserved: dict[str, int]
    books: Checker


class Begun(NamedTuple):
    """What a tree begins with.

    Args:
        state: of the node.
        effects: what it asks for first.
        outdated: the paths of workers that run as the file does not want them any more.
        removed: the paths of those that had a place in the tree and have none now.
        added: those that have one and not by a file, by path.
        anew: whether there was nothing to go on with.
        stopped: who stays stopped then, because an operator has stopped it.
    """

    state: NodeState
    effects: tuple[Effect, ...]
    outdated: tuple[str, ...] = ()
    removed: frozenset[str] = frozenset()
    added: Mapping[str, ChildSpec] = MappingProxyType({})
    anew: bool = False
    stopped: frozenset[str] = frozenset()


def recalled(state: NodeState) -> Memory:
    """What is remembered of a state, when it has been through the disk."""
    return msgspec.json.decode(msgspec.json.encode(memory.of(state)), type=Memory)


def reserve(reserved: dict[str, int], path: str, number: int) -> None:
    """A child is started under this number. Cf. `daemon.numbers`."""
    if number > reserved.get(path, 0) - limits.INCARNATIONS_RESERVED // 2:
        reserved[path] = number + limits.INCARNATIONS_RESERVED


def under_way(state: NodeState) -> frozenset[int]:
    """The numbers of the calls that are being carried out."""
    found = set()
    for supervisor in state.supervisors.values():
        plan: Plan | None = supervisor.plan
        while plan is not None:
            if plan.call is not None:
                found.add(plan.call.request)
            plan = plan.resume
    return frozenset(found)


def healthy(state: NodeState, world: World) -> list[Key]:
    """The workers that a daemon knew and that have outlived it."""
    return [
        (child.path, child.incarnation)
        for child in children_of(state)
        if child.pid is not None and world.lives(child.path, Birth(child.incarnation, child.pid))
    ]


def begin(
    spec: SupervisorSpec,
    journal: Journal,
    reserved: Mapping[str, int],
    world: World,
    *,
    seed: int,
    now: int,
    parent: ParentSpec | None = None,
    **more: Any,
) -> Begun:
    """Take up what can be taken up and end what cannot; `world.news` is to be told next.

    `more` is what `machine.boot` and `machine.resume` want besides.
    """
    more |= {"seed": seed, "now": now, "parent": parent}
    was = recalled(journal.state)
    noted = {
        path: world.births.after(path, succession.last_seen(it))
        for path, it in was.children.items()
    }
    if not was.is_of_a_life(has_parent=parent is not None) or _all_died(was, noted, world):
        return _begin_anew(spec, journal, was, reserved, world, more)
    alive = {
        path: it.incarnation
        for path, it in was.children.items()
        if it.pid is not None and world.lives(path, Birth(it.incarnation, it.pid))
    }
    outdated = _outdated(spec, journal.state)
    newest = world.newest()
    heirs = {
        path: after
        for path, it in was.children.items()
        if path not in alive and path not in outdated
        if (after := succession.heirs(it, noted[path], newest.get(path)))
    }
    numbers = succession.numbers(was, reserved, alive, heirs)
    state, asked = machine.resume(spec, was, incarnations=numbers, **more)
    running = [child for child in children_of(state) if child.pid is not None]
    kept = {(child.path, child.incarnation) for child in running if child.path in alive}
    kept |= {
        (path, after[-1].incarnation)
        for path, after in heirs.items()
        if world.lives(path, after[-1])
    }
    world.end_leftovers(kept)
    world.heirs = heirs
    ends = [end for child in running if (end := _adopt(child, world)) is not None]
    if ends:
        world.news.append(Found(tuple(ends)))
    world.news.append(Tick())
    old = (c.path for c in running if c.path in alive and c.path in outdated)
    removed = frozenset(was.children) - {child.path for child in children_of(state)}
    added = {child.path: child.spec for child in children_of(state) if child.dynamic}
    return Begun(state, asked, outdated=tuple(old), removed=removed, added=added)


def _begin_anew(
    spec: SupervisorSpec,
    journal: Journal,
    was: Memory,
    reserved: Mapping[str, int],
    world: World,
    more: Mapping[str, Any],
) -> Begun:
    world.end_leftovers(())
    ending = was.node.halted or was.node.stop_asked
    left_alone = frozenset[str]() if ending else was.stopped()
    state, asked = machine.boot(spec, incarnations=reserved, stopped=left_alone, **more)
    by_operator = (it.path for it in children_of(journal.state) if it.by_operator)
    stopped = frozenset[str]() if ending else frozenset(by_operator)
    return Begun(state, asked, anew=True, stopped=stopped)


def end_unclaimed(world: World) -> list[Disowned]:
    """The news is told: end those that the core turned out not to want, and say so."""
    unclaimed = {path: after for path, after in world.heirs.items() if after}
    world.heirs = {}
    ended = {(path, it.incarnation) for path, after in unclaimed.items() for it in after}
    world.end_leftovers(set(world.living()) - ended)
    return [Disowned(path, after[-1].incarnation) for path, after in unclaimed.items()]


def children_of(state: NodeState) -> list[ChildState]:
    """Everyone in the tree."""
    return [child for one in state.supervisors.values() for child in one.children.values()]


def _outdated(spec: SupervisorSpec, was: NodeState) -> set[str]:
    """Whom the file starts otherwise than the journal says, or knows no more."""
    fresh, _ = machine.boot(spec, seed=0, now=0)
    file = {child.path: _launch(child) for child in children_of(fresh)}
    outdated = set()
    for child in children_of(was):
        own = _launch(child)
        wanted = file.get(child.path, own if child.dynamic else None)
        if own is None or wanted != own:
            outdated.add(child.path)
    return outdated


def _launch(child: ChildState) -> LaunchSpec | None:
    return child.spec.launch if isinstance(child.spec, WorkerSpec) else None


def _all_died(was: Memory, noted: Mapping[str, list[Birth]], world: World) -> bool:
    """Whether something has ended everybody together, so that nobody is to blame."""
    last = {}
    for path, it in was.children.items():
        known = [] if it.pid is None else [Birth(it.incarnation, it.pid)]
        if starts := [*known, *noted[path]]:
            last[path] = starts[-1]
    return len(last) > 1 and not any(world.lives(path, birth) for path, birth in last.items())


def _adopt(child: ChildState, world: World) -> Exited | None:
    assert isinstance(child.spec, WorkerSpec)
    assert child.pid is not None
    if world.adopt(child.path, Birth(child.incarnation, child.pid), child.spec):
        return None
    return Exited(child.path, child.incarnation, UNKNOWN)
