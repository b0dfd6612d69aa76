"""How a daemon begins: with the tree of an earlier one, where that was killed, else anew.

Three sources say what there is. The journal says what the earlier daemon knew, which may be a moment behind.
The processes say by their marks whose they are. The configuration says what there is to be. Whoever fits all
three is adopted; whoever has died meanwhile is late news for the core; whatever else is left of the earlier
daemon is ended before anything is started, so that nothing runs twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from supervisord_ng import limits
from supervisord_ng.core import machine, succession
from supervisord_ng.core.effects import Effect
from supervisord_ng.core.events import Disowned, Event, Exited, Found, Tick
from supervisord_ng.core.memory import ChildMemory
from supervisord_ng.core.state import ChildState, NodeState, Phase
from supervisord_ng.errors import StoreError
from supervisord_ng.model import names
from supervisord_ng.model.instances import scaled
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import ChildSpec, SupervisorSpec, TreeSpec, WorkerSpec
from supervisord_ng.reports import journal
from supervisord_ng.reports.journal import Recalled
from supervisord_ng.runtime import adoption, clock, leftovers, procfs
from supervisord_ng.runtime.adoption import Adoptee, Heir
from supervisord_ng.runtime.births import Birth, Births
from supervisord_ng.runtime.cgroups import Cgroups, UnavailableError
from supervisord_ng.runtime.guard import Guard
from supervisord_ng.runtime.tokens import Tokens
from supervisord_ng.runtime.workers import Workers

CGROUPS_SWITCH = "SNG_CGROUPS"  # "off": treat workers as on a host without cgroups

Publish = Callable[..., None]
"""`Feed.publish`."""


def find_cgroups(runtime_dir: str, log: Any) -> Cgroups | None:
    """Where workers get cgroups of their own, None where the host does not let us, or an operator."""
    if os.environ.get(CGROUPS_SWITCH) == "off":
        return None
    try:
        return Cgroups(runtime_dir)
    except UnavailableError as error:
        log.info("workers get no cgroups", reason=str(error))
    return None


class Begun(NamedTuple):
    """What a tree begins with.

    Args:
        state: of the node.
        effects: what it asks for first.
        news: what has happened while nobody looked, to be told to the core next.
        outdated: the paths of workers that run as the configuration does not want them any more.
        root: the tree of the file, with as many instances as operators want.
        scales: how many that are, by worker, where it is not what the file says.
        anew: whether there was nothing to go on with.
    """

    state: NodeState
    effects: tuple[Effect, ...]
    root: SupervisorSpec
    scales: Mapping[str, int]
    news: tuple[Event, ...] = ()
    outdated: tuple[str, ...] = ()
    anew: bool = False


class Beginning:
    """Of one daemon; used once, with the lock held.

    Args:
        tree: what is to be supervised.
        workers: adopts.
        cgroups: of the workers, None for nowhere.
        tokens: tell whose a process is.
        births: what was started last.
        publish: tells people who follow.
        log: the daemon's own.
        is_upgrade: whether the earlier daemon has become this one, so that nothing was killed.
    """

    def __init__(
        self,
        tree: TreeSpec,
        workers: Workers,
        cgroups: Cgroups | None,
        tokens: Tokens,
        births: Births,
        publish: Publish,
        log: Any,
        *,
        is_upgrade: bool,
    ) -> None:
        self._tree = tree
        self._scale({})
        self._workers = workers
        self._cgroups = cgroups
        self._tokens = tokens
        self._births = births
        self._publish = publish
        self._log = log
        self._is_upgrade = is_upgrade
        self._endpoint = workers.heartbeats.endpoint

    def recall(self, store: str) -> Recalled | None:
        """What an earlier daemon has left in the store at this path, if it can be read."""
        try:
            return journal.read(store)
        except StoreError as error:
            self._log.error("cannot adopt workers of an earlier daemon", reason=str(error))
            return None

    def begin(self, recalled: Recalled | None, incarnations: dict[str, int], **more: Any) -> Begun:
        """Take up what can be taken up, end what cannot, and say how the tree begins.

        Args:
            recalled: see `recall`.
            incarnations: the highest number that may have been used, by path.
            more: what `machine.boot` and `machine.resume` want besides.
        """
        known = {} if recalled is None else recalled.memory.children
        orderly = recalled is None or recalled.memory.node.halted
        if recalled is not None and recalled.memory.node.halted:
            incarnations |= {path: max(it.incarnation, it.used) for path, it in known.items()}
        if recalled is not None and not (orderly or recalled.memory.node.stop_asked):
            self._scale(recalled.memory.scales(self._tree.scalable))
        incarnations = self._births.raised(incarnations, {**workers_of(self._root), **known})
        why_not = self._why_anew(recalled)
        if recalled is not None and why_not is None:
            try:
                return self._go_on(recalled, incarnations, more)
            except Exception as error:  # noqa: BLE001 - what another version wrote is input; told, and then anew
                self._log.critical("cannot go on with the earlier tree", exc_info=error)
                orderly = True
                self._scale({})
        elif not orderly:
            self._log.warning("beginning anew", reason=why_not)
        self._end_leftovers(set(), set())
        stopped = frozenset[str]()
        if recalled is not None and not (orderly or recalled.memory.node.stop_asked):
            stopped = recalled.memory.stopped()
        now = clock.monotonic_ns()
        state, effects = machine.boot(
            self._root, now=now, incarnations=incarnations, stopped=stopped, **more
        )
        return Begun(state, effects, self._root, self._scales, anew=True)

    def _scale(self, counts: Mapping[str, int]) -> None:
        self._scales = counts
        self._root = scaled(self._tree, counts)

    def end_unclaimed(self) -> tuple[Event, ...]:
        """Once the news is told: end those that the core turned out not to want. What to tell it then."""
        unclaimed = {path: after for path, after in self._workers.unclaimed().items() if after}
        if not unclaimed:
            return ()
        tokens = {
            self._tokens.of(path, heir.incarnation)
            for path, after in unclaimed.items()
            for heir in after
        }
        self._workers.expect({})
        self._tell(leftovers.end_leftovers(self._endpoint, lambda it: it.token in tokens))
        return tuple(Disowned(path, after[-1].incarnation) for path, after in unclaimed.items())

    def guard(self, loop: asyncio.AbstractEventLoop) -> Guard | None:
        """Who ends the workers with the daemon, where that is wanted."""
        if self._tree.node.on_daemon_crash != "kill":
            return None
        return Guard(loop, self._endpoint, None if self._cgroups is None else self._cgroups.path)

    # --- anew or not ------------------------------------------------------------------------------
    def _why_anew(self, recalled: Recalled | None) -> str | None:
        """Why there is nothing to go on with, in words; None if there is."""
        if recalled is None:
            return "no daemon was here before"
        if not recalled.memory.is_of_a_life(has_parent=self._tree.parent is not None):
            return "the earlier tree had ended or was ending"
        if self._tree.node.on_daemon_crash == "kill" and not self._is_upgrade:
            return 'on_daemon_crash = "kill"'
        if recalled.boot != procfs.boot_id():
            return "the host, or the container, has been restarted"
        if recalled.memory.node.root != self._tree.root.name:
            return "another root"
        processes = [
            birth
            for path, it in recalled.memory.children.items()
            for birth in (*_known(it), *self._noted(path, it))[-1:]
        ]
        if len(processes) > 1 and not any(adoption.lives(it.pid, it.birth) for it in processes):
            # Not their own end: something has ended everything together, so nobody is to blame.
            return f"none of {len(processes)} workers has outlived the earlier daemon"
        return None

    # --- going on ---------------------------------------------------------------------------------
    def _go_on(
        self, recalled: Recalled, incarnations: dict[str, int], more: dict[str, Any]
    ) -> Begun:
        now = clock.monotonic_ns()
        memory = recalled.memory
        marked = leftovers.find(self._endpoint)
        members = adoption.members_by_token(marked)
        alive = {path: it.incarnation for path, it in memory.children.items() if _lives(it)}
        heirs = self._heirs(adoption.heirs(marked, self._tokens), members, recalled, alive)
        numbers = succession.numbers(memory, incarnations, alive, heirs)
        state, effects = machine.resume(self._root, memory, now=now, incarnations=numbers, **more)
        running = [
            child
            for supervisor in state.supervisors.values()
            for child in supervisor.children.values()
            if child.pid is not None
        ]
        kept = {child.path: child.incarnation for child in running if child.path in alive}
        kept |= {
            path: after[-1].incarnation
            for path, after in heirs.items()
            if adoption.lives(after[-1].pid, after[-1].birth)
        }
        self._end_leftovers(
            {self._tokens.of(path, number) for path, number in kept.items()},
            {names.leaf(path) for path in kept},
        )
        self._workers.expect(heirs)
        told = [self._adopt(child, members, now) for child in running]
        ends = tuple(end for end in told if end is not None)
        self._log.info("adopted", workers=len(kept), died=len(ends), earlier=recalled.package)
        outdated = tuple(
            child.path
            for child in running
            if child.path in alive and _is_outdated(child.spec, child.path, recalled)
        )
        # Whose back-off has ended meanwhile has perhaps been started already: it is time to ask for it.
        news = (Found(ends), Tick()) if ends else (Tick(),)
        return Begun(state, effects, self._root, self._scales, news, outdated)

    def _heirs(
        self,
        seen: dict[str, Heir],
        members: dict[str, tuple[int, ...]],
        recalled: Recalled,
        alive: Collection[str],
    ) -> dict[str, list[Heir]]:
        """Who was started in the place of somebody that the journal has for running, or about to be started.

        The last of them may run; the others have ended. An end that nobody has seen is an end all the same.
        """
        specs = {path: it.spec for path, it in recalled.memory.children.items()}
        specs |= workers_of(self._root)
        heirs = {}
        for path, known in recalled.memory.children.items():
            if path in alive or _is_outdated(specs.get(path), path, recalled):
                continue
            noted = [Heir(*birth) for birth in self._noted(path, known)]
            running = seen.get(path)
            # A child of a worker that has died may lead a session as well: where the notes know who the main
            # process is, or was, they are right.
            if running is not None and running.incarnation in {
                it.incarnation for it in noted if it.pid
            }:
                running = None
            after = succession.heirs(known, noted, running)
            if after:
                heirs[path] = [
                    heir._replace(marked=members.get(self._tokens.of(path, heir.incarnation), ()))
                    for heir in after
                ]
        return heirs

    def _noted(self, path: str, known: ChildMemory) -> list[Birth]:
        """The starts that the journal does not know of."""
        return self._births.after(names.leaf(path), succession.last_seen(known))

    def _adopt(
        self, child: ChildState, members: dict[str, tuple[int, ...]], now: int
    ) -> Exited | None:
        assert isinstance(child.spec, WorkerSpec)
        assert child.pid is not None
        token = self._tokens.of(child.path, child.incarnation)
        ago_ns = now - (child.since if child.since is not None else now)
        news = self._workers.adopt(
            Adoptee(
                child.path,
                child.incarnation,
                child.spec,
                child.pid,
                child.birth,
                ready=child.ready,
                ending=child.phase in (Phase.STOPPING, Phase.KILLING, Phase.DUMPING),
                since=clock.wall_s() - ago_ns / limits.SECOND,
                marked=members.get(token, ()),
            )
        )
        if news is None:
            self._publish(EventName.ADOPTED, child.path, child.incarnation, pid=child.pid)
        return news

    def _end_leftovers(self, tokens: set[str], spared: set[str]) -> None:
        """Nothing may run twice: what nobody takes over goes before anything is started."""
        if self._cgroups is not None:
            self._cgroups.kill_leftovers(spared)
        self._tell(leftovers.end_leftovers(self._endpoint, lambda it: it.token not in tokens))

    def _tell(self, what: tuple[list[int], list[int]]) -> None:
        ended, survivors = what
        if ended:
            self._log.warning("ended what an earlier daemon left running", pids=ended)
        if survivors:
            self._log.error("cannot end what an earlier daemon left running", pids=survivors)


def workers_of(spec: SupervisorSpec, path: str = "") -> dict[str, WorkerSpec]:
    """Every worker that a tree names, by its path."""
    found: dict[str, WorkerSpec] = {}
    here = path or spec.name
    for child in spec.children:
        below = names.join(here, child.name)
        if isinstance(child, WorkerSpec):
            found[below] = child
        elif isinstance(child, SupervisorSpec):
            found |= workers_of(child, below)
    return found


def _known(child: ChildMemory) -> Iterator[Birth]:
    """The process that the journal knows, if there is one."""
    if child.pid is not None:
        yield Birth(child.incarnation, child.pid, child.birth)


def _lives(child: ChildMemory) -> bool:
    return child.pid is not None and adoption.lives(child.pid, child.birth)


def _is_outdated(spec: ChildSpec | None, path: str, recalled: Recalled) -> bool:
    """Whether the configuration has changed in a way that needs a restart of this worker."""
    known = recalled.launches.get(path)
    if not isinstance(spec, WorkerSpec) or known is None:
        return True
    return known != journal.fingerprint(spec.launch)
