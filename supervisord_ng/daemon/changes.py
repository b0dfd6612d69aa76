"""The verbs that change what the tree is: diff, reload, scale, start-child, delete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from supervisord_ng.control.access import Caller
from supervisord_ng.daemon.children import Children
from supervisord_ng.daemon.operators import Outcome
from supervisord_ng.daemon.reloads import Comparison
from supervisord_ng.model import targets
from supervisord_ng.model.reports import EventName

if TYPE_CHECKING:
    from supervisord_ng.daemon.service import Daemon

Results = dict[str, list[Outcome]]


class Files(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of diff and reload."""

    file: str | None = None
    wait: bool = True


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of scale."""

    counts: dict[str, int]
    wait: bool = True


class NewChild(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of start-child."""

    supervisor: str
    name: str | None = None
    args: tuple[str, ...] = ()
    toml: str | None = None
    wait: bool = True


class Deletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of delete."""

    paths: tuple[str, ...]


class Changes:
    """These verbs, bound to one daemon. Each is an event, before anything is done."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._children = Children(daemon)

    def table(self) -> dict[str, tuple[type[Any], Callable[[Caller, Any], Any]]]:
        """What `verbs` has to know of them."""
        return {
            "diff": (Files, lambda _, args: self._daemon.reloads.diff(args.file)),
            "reload": (Files, self._reload),
            "scale": (Counts, self._scale),
            "start-child": (NewChild, self._start_child),
            "delete": (Deletion, self._delete),
        }

    async def _reload(self, caller: Caller, args: Files) -> Comparison:
        self._publish(caller, "reload", args.file)
        return await self._daemon.reloads.reload(args.file, wait=args.wait)

    async def _scale(self, caller: Caller, args: Counts) -> Comparison:
        self._publish(caller, "scale", " ".join(f"{n}={c}" for n, c in args.counts.items()))
        return await self._daemon.reloads.scale(args.counts, wait=args.wait)

    async def _start_child(self, caller: Caller, args: NewChild) -> Results:
        said = (args.supervisor, *([args.name] if args.name else []), *args.args)
        self._publish(caller, "start-child", " ".join(said))
        start = self._children.start(args.supervisor, args.name, args.args, args.toml)
        if args.wait:
            return {"results": [await start]}
        self._daemon.keep_task(asyncio.ensure_future(start))
        return {"results": [Outcome(args.supervisor, ok=True, code="ok", message="ordered")]}

    async def _delete(self, caller: Caller, args: Deletion) -> Results:
        rows = targets.find_all(self._daemon.rows(), args.paths)
        self._publish(caller, "delete", " ".join(args.paths))
        return {"results": await self._children.delete(rows)}

    def _publish(self, caller: Caller, verb: str, detail: str | None) -> None:
        self._daemon.feed.publish(
            EventName.COMMAND,
            self._daemon.shell.state.root,
            None,
            verb=verb,
            uid=caller.uid,
            pid=caller.pid,
            detail=detail,
        )
