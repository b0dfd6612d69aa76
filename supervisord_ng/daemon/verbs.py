"""What each verb of the control protocol does. The arguments and results are in docs/control-protocol.md."""

from __future__ import annotations

import asyncio
import itertools
import platform
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

import supervisord_ng
from supervisord_ng import limits
from supervisord_ng.control.access import Caller
from supervisord_ng.core import flight, view
from supervisord_ng.daemon import logstream
from supervisord_ng.daemon.changes import Changes
from supervisord_ng.daemon.fleet import Nodes
from supervisord_ng.daemon.operators import Outcome, Verb
from supervisord_ng.errors import ControlError
from supervisord_ng.model import targets
from supervisord_ng.model.messages import Request
from supervisord_ng.model.reports import Event, EventName
from supervisord_ng.model.spec import WorkerSpec
from supervisord_ng.model.status import NodeStatus, Rejected, ReportCounts, Row
from supervisord_ng.runtime import clock
from supervisord_ng.runtime.usage import WorkerUsage, measure

if TYPE_CHECKING:
    from supervisord_ng.daemon.service import Daemon

PROTOCOL = 1

Within = Annotated[float, msgspec.Meta(gt=0, le=limits.FLEET_WITHIN_S)]


class Paths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of verbs about children."""

    paths: tuple[str, ...] = ()


class Looking(Paths, frozen=True, forbid_unknown_fields=True):
    """Arguments of status. `within_s` is how long nodes below may take to answer, for `all`."""

    all: bool = False
    within_s: Within = limits.FLEET_WITHIN_S


class Searching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of nodes."""

    within_s: Within = limits.FLEET_WITHIN_S


class Orders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of start, stop and restart."""

    paths: tuple[str, ...]
    wait: bool = True


class Signals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of signal."""

    signal: int
    paths: tuple[str, ...]
    main: bool = False


class Following(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of events."""

    since: int | None = None
    follow: bool = False


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of crashes.list."""

    limit: int | None = None
    paths: tuple[str, ...] = ()


class Showing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of crashes.show."""

    id: str


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of logs."""

    paths: tuple[str, ...] = (targets.ALL,)
    lines: Annotated[int, msgspec.Meta(ge=0)] = limits.LOGS_SHOWN_DEFAULT
    follow: bool = False


class Ending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of shutdown."""

    now: bool = False
    all: bool = False


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of verbs that have none."""


class Verbs:
    """The handler that the control server calls, bound to one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._table: dict[str, tuple[type[Any], Callable[[Caller, Any], Any]]] = {
            "status": (Looking, self._status),
            "usage": (Paths, self._usage),
            "nodes": (Searching, self._nodes),
            "start": (Orders, lambda caller, args: self._order("start", caller, args)),
            "stop": (Orders, lambda caller, args: self._order("stop", caller, args)),
            "restart": (Orders, lambda caller, args: self._order("restart", caller, args)),
            "signal": (Signals, self._signal),
            "events": (Following, self._events),
            "events.record": (Nothing, self._events_record),
            "crashes.list": (Listing, self._crashes_list),
            "crashes.show": (Showing, self._crashes_show),
            "crashes.stats": (Nothing, self._crashes_stats),
            "logs": (Reading, self._logs),
            "logs.files": (Paths, self._logs_files),
            "shutdown": (Ending, self._shutdown),
            "upgrade": (Nothing, self._upgrade),
            "version": (Nothing, self._version),
            **Changes(daemon).table(),
        }

    def handle(self, caller: Caller, request: Request) -> Awaitable[Any] | AsyncIterator[Any]:
        """Do what `request` asks.

        Raises:
            ControlError: unsupported verb, or arguments that do not fit it.
        """
        if request.node is not None:
            return self._daemon.neighbours.fleet.forward(caller, request)
        entry = self._table.get(request.verb)
        if entry is None:
            raise ControlError("unsupported", f"unknown verb: {request.verb}", "see: sng --help")
        kind, act = entry
        try:
            args = msgspec.convert(request.args, kind)
        except msgspec.ValidationError as error:
            raise ControlError("bad_request", f"cannot {request.verb}: {error}") from error
        answer: Awaitable[Any] | AsyncIterator[Any] = act(caller, args)
        return answer

    def _rows(self) -> tuple[Row, ...]:
        return self._daemon.rows()

    async def _status(self, _: Caller, args: Looking) -> NodeStatus | dict[str, Any]:
        status = self._own_status(args.paths)
        if not args.all:
            return status
        nodes = await self._daemon.neighbours.fleet.statuses(args.within_s)
        return {**msgspec.to_builtins(status), "nodes": nodes}

    async def _usage(self, _: Caller, args: Paths) -> dict[str, list[WorkerUsage]]:
        rows = targets.workers(self._rows(), args.paths or (targets.ALL,))
        mains = {row.path: row.pid for row in rows if row.pid is not None}
        return {"workers": await asyncio.to_thread(measure, mains)}

    async def _nodes(self, _: Caller, args: Searching) -> Nodes:
        return Nodes(tuple(await self._daemon.neighbours.fleet.nodes(args.within_s)))

    def _own_status(self, paths: tuple[str, ...]) -> NodeStatus:
        daemon = self._daemon
        rows = self._rows()
        shown = rows
        if paths and targets.ALL not in paths:
            wanted = {
                inner.path
                for row in targets.find_all(rows, paths)
                for inner in targets.below(rows, row)
            }
            shown = tuple(row for row in rows if row.path in wanted)
        counts = daemon.store.counts
        return NodeStatus(
            node=daemon.tree.node.name,
            state=rows[0].state,
            pid=daemon.pid,
            version=supervisord_ng.__version__,
            uptime_s=(clock.monotonic_ns() - daemon.started_ns) / limits.SECOND,
            loop_lag_ms=daemon.shell.lag_ns() / limits.MS,
            parent=daemon.neighbours.links.parent(daemon.shell.state),
            reports=ReportCounts(
                stored=counts.stored,
                waiting=counts.waiting + (daemon.store.outbox.unsent if daemon.tree.parent else 0),
                dropped=counts.dropped,
            ),
            rejected=Rejected(
                heartbeat=daemon.workers.heartbeats.rejected,
                notify=daemon.workers.notify.rejected,
                control=daemon.control.rejected,
                link=daemon.neighbours.rejected,
            ),
            children=shown,
        )

    async def _order(self, verb: Verb, caller: Caller, args: Orders) -> dict[str, list[Outcome]]:
        daemon = self._daemon
        rows = targets.find_all(self._rows(), args.paths)
        for row in rows:
            daemon.feed.publish(
                EventName.COMMAND,
                row.path,
                row.incarnation,
                kind=row.kind,
                verb=verb,
                uid=caller.uid,
                pid=caller.pid,
                detail=None if caller.node is None else f"on node {caller.node}",
            )
        work = asyncio.ensure_future(daemon.operators.order(verb, rows))
        if args.wait:
            return {"results": await asyncio.shield(work)}
        daemon.keep_task(work)
        return {
            "results": [Outcome(row.path, ok=True, code="ok", message="ordered") for row in rows]
        }

    async def _signal(self, caller: Caller, args: Signals) -> dict[str, list[Outcome]]:
        daemon = self._daemon
        try:
            name = signal.Signals(args.signal).name
        except ValueError as error:
            raise ControlError("bad_request", f"no such signal: {args.signal}") from error
        outcomes = []
        for row in targets.workers(self._rows(), args.paths):
            sent = daemon.workers.signal(row.path, args.signal, whole=not args.main)
            daemon.feed.publish(
                EventName.COMMAND,
                row.path,
                row.incarnation,
                verb="signal",
                uid=caller.uid,
                pid=caller.pid,
                detail=name,
            )
            message = f"sent {name}" if sent else f"cannot signal {row.path}: it is not running"
            code = "ok" if sent else "noproc"
            outcomes.append(Outcome(row.path, sent, code, message, row.pid, row.incarnation))
        return {"results": outcomes}

    def _events(self, _: Caller, args: Following) -> AsyncIterator[Event]:
        return self._daemon.feed.stream(args.since, follow=args.follow)

    async def _events_record(self, _: Caller, __: Nothing) -> AsyncIterator[str]:
        lines = flight.lines(self._daemon.flight())
        # A state may be large, so it is encoded beside the loop; what is encoded never changes.
        while some := await asyncio.to_thread(_take, lines):
            for line in some:
                yield line.decode()

    async def _crashes_list(self, _: Caller, args: Listing) -> dict[str, Any]:
        reader = self._daemon.reader
        if not args.paths:
            return {"reports": await asyncio.to_thread(reader.newest, args.limit)}
        paths = [row.path for row in targets.find_all(self._rows(), args.paths)]
        found = {}
        for path in paths:
            for report in await asyncio.to_thread(reader.newest, args.limit, path):
                found[report.id] = report
        newest = sorted(found.values(), key=lambda report: report.id, reverse=True)
        return {"reports": newest[: args.limit] if args.limit is not None else newest}

    async def _crashes_show(self, _: Caller, args: Showing) -> Any:
        return await asyncio.to_thread(self._daemon.reader.get, args.id)

    async def _crashes_stats(self, _: Caller, __: Nothing) -> Any:
        stats = await asyncio.to_thread(self._daemon.reader.stats)
        counts = self._daemon.store.counts  # only the writer knows what is in memory
        return msgspec.structs.replace(stats, waiting=counts.waiting, dropped=counts.dropped)

    def _logs(self, _: Caller, args: Reading) -> AsyncIterator[logstream.LogItem]:
        specs = view.worker_specs(self._daemon.shell.state)
        chosen = [row for row in targets.workers(self._rows(), args.paths) if row.path in specs]
        captured = {
            row.name: specs[row.path].log for row in chosen if _is_captured(specs[row.path])
        }
        return logstream.stream(captured, args.lines, follow=args.follow)

    async def _logs_files(self, _: Caller, args: Paths) -> dict[str, Any]:
        rows = targets.workers(self._rows(), args.paths or (targets.ALL,))
        specs = view.worker_specs(self._daemon.shell.state)
        return {
            "logs": [
                {
                    "path": row.path,
                    "name": row.name,
                    "file": specs[row.path].log.file if _is_captured(specs[row.path]) else None,
                    "backups": specs[row.path].log.backups,
                    "format": specs[row.path].log.format,
                }
                for row in rows
            ]
        }

    async def _shutdown(self, caller: Caller, args: Ending) -> dict[str, Any]:
        where = "" if caller.node is None else f" on node {caller.node}"
        who = f"operator (uid {caller.uid}, pid {caller.pid}{where})"
        stop = partial(self._daemon.stop, who, now=args.now, below=args.all)
        if caller.node is None:
            stop()
        else:  # the goodbye must not overtake the answer
            asyncio.get_running_loop().call_later(limits.SHUTDOWN_ANSWER_S, stop)
        return {}

    async def _upgrade(self, caller: Caller, _: Nothing) -> dict[str, Any]:
        who = f"operator (uid {caller.uid}, pid {caller.pid})"
        return {"version": await self._daemon.upgrade.begin(who)}

    async def _version(self, _: Caller, __: Nothing) -> dict[str, Any]:
        return {
            "version": supervisord_ng.__version__,
            "pid": self._daemon.pid,
            "node": self._daemon.tree.node.name,
            "python": platform.python_version(),
            "protocol": PROTOCOL,
        }


def _is_captured(worker: WorkerSpec) -> bool:
    return "log" in (worker.launch.stdout, worker.launch.stderr)


def _take(lines: Iterator[bytes]) -> list[bytes]:
    """The next lines of a record, none at its end."""
    return list(itertools.islice(lines, limits.FLIGHT_LINES_TURN))
