"""Another configuration for a running node: what it would change, and changing exactly that.

Reads files (`config`), asks the core what a reload would do and has it done (`core.difference`,
`core.reload`), and says both. What of a file cannot be had while the daemon runs is refused, and the whole file
with it; what only the next start of the daemon brings is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from supervisord_ng.config.difference import Key, keys
from supervisord_ng.config.loading import Loaded
from supervisord_ng.core.difference import Act, Difference, Refusal, foresee, refusals
from supervisord_ng.core.effects import FailedStart, Reloaded
from supervisord_ng.core.events import Reload
from supervisord_ng.daemon.beginning import workers_of
from supervisord_ng.daemon.operators import Outcome
from supervisord_ng.errors import ConfigError, ControlError
from supervisord_ng.limits import CHILDREN_MAX
from supervisord_ng.model import names
from supervisord_ng.model.instances import scaled
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import (
    Scalable,
    SupervisorSpec,
    TreeSpec,
    WorkerSpec,
)
from supervisord_ng.model.words import explain

if TYPE_CHECKING:
    from supervisord_ng.daemon.service import Daemon

Load = Callable[[str], Loaded]
"""Reads a configuration as this daemon has to: by its own environment and command line."""

_FIXED = ("name", "runtime_dir", "state_dir", "secret_key_file", "listen")
_AT_ONCE = ("log_dir",)  # of the node: each worker's log moves by itself


class Change(msgspec.Struct, frozen=True):
    """One child, what becomes of it, and why. `act` is one of `core.difference.Act`."""

    path: str
    kind: str
    act: Act
    pid: int | None = None
    keys: tuple[Key, ...] = ()
    because: tuple[str, ...] = ()
    reordered: bool = False


class Scale(msgspec.Struct, frozen=True):
    """A worker of which an operator wants another number of instances than the file says."""

    name: str
    file: int
    running: int


class Comparison(msgspec.Struct, frozen=True):
    """What a file would change. `later` holds from the next start of the daemon only."""

    file: str
    same: bool
    changes: tuple[Change, ...]
    refused: tuple[Refusal, ...] = ()
    later: tuple[Key, ...] = ()
    scaled: tuple[Scale, ...] = ()
    warnings: tuple[str, ...] = ()
    failed: tuple[Outcome, ...] = ()  # of a reload: what could not be started


class Reloads:
    """The verbs diff, reload and scale.

    Args:
        daemon: whose node it is.
        load: reads a file.
    """

    def __init__(self, daemon: Daemon, load: Load) -> None:
        self._daemon = daemon
        self._load = load
        self._begun = daemon.tree  # what of the node is in force
        self._scales: dict[str, int] = {}
        self._next = 0
        self._waiting: dict[int, asyncio.Future[Reloaded]] = {}

    def begin(self, scales: Mapping[str, int]) -> None:
        """What operators have said of numbers before an earlier daemon was killed, or became this one."""
        self._scales = dict(scales)

    def reloaded(self, done: Reloaded) -> None:
        """The core has done what was asked of it."""
        waiting = self._waiting.pop(done.request, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(done)

    # --- diff ------------------------------------------------------------------------------------
    async def diff(self, file: str | None) -> Comparison:
        """Say what `reload` would do.

        Args:
            file: an absolute path, None for the file that was read last.

        Raises:
            ControlError: config, the file is wrong.
        """
        loaded = await self._read(file)
        return self._compare(loaded, self._scales_under(loaded.tree))

    async def _read(self, file: str | None) -> Loaded:
        path = file or self._daemon.tree.source
        try:
            return await asyncio.to_thread(self._load, path)
        except ConfigError as error:
            raise ControlError("config", f"{error}\ncannot use {path}") from error

    def _compare(self, loaded: Loaded, scales: Mapping[str, int]) -> Comparison:
        new = loaded.tree
        state = self._daemon.shell.state
        root = scaled(new, scales)
        refused = (*self._refused_of_node(new), *refusals(state, root))
        changes = () if refused else tuple(map(self._change, foresee(state, root)))
        later = self._later(new)
        return Comparison(
            file=new.source,
            same=not (refused or changes or later),
            changes=changes,
            refused=refused,
            later=later,
            scaled=tuple(
                Scale(name, new.scalable[name].count, count) for name, count in scales.items()
            ),
            warnings=tuple(map(str, loaded.warnings)),
        )

    def _change(self, found: Difference) -> Change:
        spec = found.new if found.new is not None else found.old
        assert spec is not None
        pid = None
        if isinstance(spec, WorkerSpec) and found.act is not Act.ADD:
            child = self._child(found.path)
            pid = None if child is None else child.pid
        both = found.old is not None and found.new is not None
        return Change(
            path=found.path,
            kind=_kind(spec),
            act=found.act,
            pid=pid,
            keys=keys(found.old, found.new) if both and found.old and found.new else (),
            because=found.because,
            reordered=found.reordered,
        )

    def _child(self, path: str) -> Any:
        supervisor = self._daemon.shell.state.supervisors.get(names.parent(path))
        return None if supervisor is None else supervisor.children.get(names.leaf(path))

    def _refused_of_node(self, new: TreeSpec) -> tuple[Refusal, ...]:
        found = [
            _only_at_start(f"node.{key.key}", key.old, key.new)
            for key in keys(self._begun.node, new.node)
            if key.key in _FIXED
        ]
        if (self._begun.parent is None) != (new.parent is None):
            words = ("there is none", "there is one")
            old, new_word = words if self._begun.parent is None else words[::-1]
            found.append(_only_at_start("parent", old, new_word))
        elif self._begun.parent is not None and new.parent is not None:
            found += [
                _only_at_start(f"parent.{key.key}", key.old, key.new)
                for key in keys(self._begun.parent, new.parent)
            ]
        return tuple(found)

    def _later(self, new: TreeSpec) -> tuple[Key, ...]:
        """What holds from the next start of the daemon."""
        return tuple(
            replace(key, key=f"node.{key.key}")
            for key in keys(self._begun.node, new.node)
            if key.key not in (*_FIXED, *_AT_ONCE)
        )

    # --- reload ----------------------------------------------------------------------------------
    async def reload(self, file: str | None, *, wait: bool = True) -> Comparison:
        """Change exactly what `diff` says; return when it is done, or with `wait` False when it is begun.

        Raises:
            ControlError: config, the file is wrong; refused, something in it cannot be had while the daemon
                runs. Nothing has been touched then.
        """
        daemon = self._daemon
        if daemon.is_stopping:
            raise ControlError("shutting_down", "cannot reload: the daemon is ending")
        daemon.announcer.reloading()
        try:
            loaded = await self._read(file)
            scales = self._scales_under(loaded.tree)
            plan = self._compare(loaded, scales)
            if plan.refused:
                lines = [f"{one.path}: {one.why}" for one in plan.refused]
                raise ControlError("refused", "\n".join([*lines, f"cannot reload {plan.file}"]))
            self._adopt(loaded.tree, scales)
            done = self._order(scaled(loaded.tree, scales), summary(plan))
            return await self._done(plan, done) if wait else plan
        finally:
            daemon.announcer.reloaded()

    def _adopt(self, tree: TreeSpec, scales: Mapping[str, int]) -> None:
        """What of a configuration is none of the core's affairs."""
        daemon = self._daemon
        daemon.tree = tree
        self._scales = dict(scales)
        daemon.store.set_bounds(tree.reports.keep_ns, tree.reports.max_count)
        daemon.reporter.log_lines = tree.reports.log_lines
        daemon.neighbours.links.allow(tree.root)

    def _order(self, root: SupervisorSpec, detail: str) -> asyncio.Future[Reloaded]:
        """Let the core have the new tree."""
        daemon = self._daemon
        self._next += 1
        future: asyncio.Future[Reloaded] = asyncio.get_running_loop().create_future()
        self._waiting[self._next] = future
        daemon.feed.publish(EventName.RELOAD, daemon.shell.state.root, None, detail=detail)
        used = daemon.births.raised(daemon.store.load_incarnations(), workers_of(root))
        daemon.shell.feed(Reload(root, self._next, used))
        return future

    async def _done(self, plan: Comparison, done: asyncio.Future[Reloaded]) -> Comparison:
        """The plan when it is carried out, with what could not be started."""
        failed = (await done).failed
        await self._daemon.operators.written()
        return replace(plan, failed=tuple(map(self._failed, failed)))

    def _failed(self, failed: FailedStart) -> Outcome:
        remains = self._daemon.workers.remains(failed.path)
        why = explain(failed.reason.text)
        if remains is not None and remains.message is not None:
            why = f"{why}: {remains.message}"
        message = f"cannot start {failed.path}: {why}"
        return Outcome(failed.path, ok=False, code="start_failed", message=message)

    # --- scale -----------------------------------------------------------------------------------
    async def scale(self, counts: Mapping[str, int], *, wait: bool = True) -> Comparison:
        """Run other numbers of instances than the file says, until a reload says otherwise.

        Args:
            counts: how many, by the name of the worker or its path.
            wait: until they are ready, or gone.

        Raises:
            ControlError: not_found; refused, there cannot be so many.
        """
        tree = self._daemon.tree
        wanted = dict(self._scales)
        for said, count in counts.items():
            name, scalable = self._scalable(said)
            _check_count(name, scalable, count)
            wanted[name] = count
            if count == scalable.count:
                del wanted[name]
        root = scaled(tree, wanted)
        if _workers(root) > CHILDREN_MAX:
            text = f"cannot scale: there would be {_workers(root)} workers, at most {CHILDREN_MAX} may be"
            raise ControlError("refused", text)
        plan = self._compare(Loaded(tree, ()), wanted)
        self._scales = wanted
        done = self._order(root, f"scale {' '.join(f'{n}={c}' for n, c in counts.items())}")
        return await self._done(plan, done) if wait else plan

    def _scalable(self, said: str) -> tuple[str, Scalable]:
        for name, scalable in self._daemon.tree.scalable.items():
            if said in (name, names.join(scalable.supervisor, name)):
                return name, scalable
        known = ", ".join(self._daemon.tree.scalable) or "none"
        text = f"cannot scale {said}: no worker of this name has `instances`"
        raise ControlError("not_found", text, f"workers that have: {known}")

    def _scales_under(self, new: TreeSpec) -> dict[str, int]:
        """What operators have said of numbers, where the new file says nothing new about them."""
        old = self._daemon.tree.scalable
        return {
            name: count
            for name, count in self._scales.items()
            if name in new.scalable and new.scalable[name].count == old[name].count
        }


def _check_count(name: str, scalable: Scalable, count: int) -> None:
    if count < 0:
        raise ControlError("bad_request", f"cannot scale {name} to {count}: must be 0 or more")
    if scalable.shares is not None and count > max(1, scalable.count):
        text = f"cannot scale {name} to {count}: all of them would write the file that {scalable.shares} names"
        raise ControlError(
            "refused", text, "leave it out: each instance then has a file of its own"
        )


def _only_at_start(key: str, old: str, new: str) -> Refusal:
    why = f"cannot change from {old} to {new} while the daemon runs"
    return Refusal(key, f"{why} (restart the daemon)")


def _workers(spec: SupervisorSpec) -> int:
    return sum(
        _workers(child) if isinstance(child, SupervisorSpec) else 1 for child in spec.children
    )


def _kind(spec: msgspec.Struct) -> str:
    if isinstance(spec, SupervisorSpec):
        return "supervisor"
    return "worker" if isinstance(spec, WorkerSpec) else "remote"


_WORDS = {
    Act.ADD: "added",
    Act.REMOVE: "removed",
    Act.RESTART: "restarted",
    Act.START: "started",
    Act.CHANGE: "changed in place",
}


def summary(plan: Comparison) -> str:
    """In one line, for events and ``systemctl status``."""
    counts = [
        f"{number} {_WORDS[act]}"
        for act in Act
        if (number := sum(1 for change in plan.changes if change.act is act))
    ]
    return f"{plan.file}: {', '.join(counts) or 'nothing changes'}"
