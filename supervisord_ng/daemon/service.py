"""The daemon: joins every part, runs the tree until it ends, and says how it ended.

The only file that knows every part. Order of start: directories, lock, store, sockets, tree; they end in the
reverse of it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from supervisord_ng import limits
from supervisord_ng.control.server import ControlServer
from supervisord_ng.core import view
from supervisord_ng.core.effects import Halt
from supervisord_ng.core.events import Kill as KillSupervisor
from supervisord_ng.core.events import Stop
from supervisord_ng.core.flight import Flight
from supervisord_ng.daemon.announcer import Announcer
from supervisord_ng.daemon.beginning import Beginning, find_cgroups
from supervisord_ng.daemon.console import Console
from supervisord_ng.daemon.feed import Feed
from supervisord_ng.daemon.ledger import Ledger
from supervisord_ng.daemon.neighbours import Neighbours
from supervisord_ng.daemon.numbers import Numbers
from supervisord_ng.daemon.operators import Operators
from supervisord_ng.daemon.performing import Performer
from supervisord_ng.daemon.reloads import Load, Reloads
from supervisord_ng.daemon.reporting import Reporter
from supervisord_ng.daemon.upgrade import Upgrade
from supervisord_ng.daemon.verbs import Verbs
from supervisord_ng.errors import EXIT_OK, EXIT_SOFTWARE, ControlError, InternalError
from supervisord_ng.model import paths
from supervisord_ng.model.reports import CrashReport, Event, EventName
from supervisord_ng.model.spec import TreeSpec
from supervisord_ng.model.status import Row
from supervisord_ng.model.words import describe, explain
from supervisord_ng.reports.reader import Reader
from supervisord_ng.reports.store import Store
from supervisord_ng.runtime import clock, procfs, reaper, recorder, rundir, signals
from supervisord_ng.runtime.births import Births
from supervisord_ng.runtime.guard import Guard
from supervisord_ng.runtime.handover import Handover
from supervisord_ng.runtime.shell import Shell
from supervisord_ng.runtime.systemd import Notifier
from supervisord_ng.runtime.tokens import Tokens
from supervisord_ng.runtime.workers import Workers


class Daemon:
    """One node.

    Args:
        tree: what to supervise.
        log: the daemon's own log.
        load: reads a configuration as it read that of `tree`.
        notifier: towards the service manager.
        inheritance: what this process was handed by the daemon that it was before.
        console: for ``sng run``, else None.
    """

    def __init__(
        self,
        tree: TreeSpec,
        log: Any,
        load: Load,
        notifier: Notifier,
        inheritance: Handover,
        console: Console | None,
    ) -> None:
        self.tree = tree
        self._notifier = notifier
        self.reloads = Reloads(self, load)
        self.upgrade = Upgrade(self, inheritance, log)
        self._inheritance = inheritance
        self.pid = os.getpid()
        self.started_ns = clock.monotonic_ns()
        self._log = log
        self._console = console
        self.is_stopping = False
        self.guard: Guard | None = None
        self._tasks: set[asyncio.Future[Any]] = set()

    async def run(self) -> int:
        """Run until the tree has ended; return the exit status.

        Raises:
            SupervisordNGError: the daemon could not begin: directories, lock, store, sockets.
        """
        node = self.tree.node
        rundir.prepare(node.runtime_dir, node.state_dir, node.log_dir)
        with rundir.Lock((node.runtime_dir, node.state_dir), self._inheritance.locks) as self.lock:
            self._loop = asyncio.get_running_loop()
            self._ended: asyncio.Future[int] = self._loop.create_future()
            await self._open()
            try:
                self._boot()
                return await self._ended
            finally:
                await self._close()

    # --- what the verbs use ----------------------------------------------------------------------
    def rows(self) -> tuple[Row, ...]:
        """The rows of the tree, with what only the runtime knows."""
        rows = view.rows(self.shell.state, clock.monotonic_ns())
        return tuple(self._with_runtime(row) for row in rows)

    def flight(self) -> Flight:
        """What happened last, to be lived again."""
        return self._recorder.flight(self.shell.state)

    def keep_task(self, task: asyncio.Future[Any]) -> None:
        """Hold an order that nobody waits for until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self, who: str, *, now: bool = False, below: bool = False) -> None:
        """Begin the orderly end, `below` with the trees below; the second time, or `now`, kill what is left."""
        if self.is_stopping or now:
            self.is_stopping = True
            self.feed.publish(EventName.SHUTDOWN, None, None, detail=f"{who}; killing what is left")
            self.shell.feed(Stop(below=below))
            self.shell.feed(KillSupervisor(self.shell.state.root))
            return
        self.is_stopping = True
        self.feed.publish(EventName.SHUTDOWN, None, None, detail=who)
        self.announcer.stopping()
        self.shell.feed(Stop(below=below))

    # --- begin and end ---------------------------------------------------------------------------
    async def _open(self) -> None:
        self._loop.set_exception_handler(self._callback_failed)
        self._open_store()
        await self._open_control()
        # From here to the end of `_boot` the loop does not turn: whoever says something meanwhile is heard
        # when it is known who that is.
        self._open_tree()
        self._open_doors()
        self._handle_signals()

    def _open_store(self) -> None:
        """What is kept, and who is told."""
        store_path = os.path.join(self.tree.node.state_dir, paths.STORE)
        keep = self.tree.reports
        self.store = Store.open(
            store_path,
            keep_ns=keep.keep_ns,
            max_count=keep.max_count,
            on_problem=self._log.warning,
            on_stored=None if self.tree.parent is None else self._stored,
            boot=procfs.boot_id(),
        )
        self.numbers = Numbers(self.store.load_incarnations(), self.store.save_incarnations)
        self.ledger = Ledger(self.store.record, self.store.confirm)
        self.reader = Reader(store_path)
        self.feed = Feed(self.tree.node.name, self._published)
        self.announcer = Announcer(
            self._loop,
            self._notifier,
            self.rows,
            lambda error: self._log.warning("cannot tell the service manager", error=str(error)),
        )

    def _open_tree(self) -> None:
        """The core and its hands."""
        node, loop = self.tree.node, self._loop
        self._recorder = recorder.Recorder(node.name)
        self._performer = Performer(self)
        self.shell = Shell(
            loop,
            self._performer.perform,
            self._drain,
            self._failed,
            self._recorder,
            self.ledger.turned,
        )
        tap = None if self._console is None else self._console.output
        tokens, self.births = Tokens(node.state_dir), Births(node.runtime_dir)
        cgroups = find_cgroups(node.runtime_dir, self._log)
        self.workers = Workers(
            loop,
            node,
            self.shell.feed,
            on_traceback=self._traceback_arrived,
            on_problem=self._log.warning,
            tokens=tokens,
            births=self.births,
            cgroups=cgroups,
            tap=tap,
        )
        self._beginning = Beginning(
            self.tree,
            self.workers,
            cgroups,
            tokens,
            self.births,
            self.feed.publish,
            self._log,
            is_upgrade=self._inheritance.is_upgrade,
        )
        self._recalled = self._beginning.recall(os.path.join(node.state_dir, paths.STORE))
        self.reporter = Reporter(
            loop,
            node.name,
            self.tree.reports.log_lines,
            self.workers,
            self.shell.lag_ns,
            self.ledger.expect,
            self._keep_report,
        )

    async def _open_control(self) -> None:
        """For operators, who are answered once the tree is booted."""
        self.control = ControlServer(
            os.path.join(self.tree.node.runtime_dir, paths.CONTROL_SOCKET),
            Verbs(self).handle,
            control_group=self.tree.node.control_group,
            log=self._log.warning,
        )
        await self.control.start()

    def _open_doors(self) -> None:
        """For operators and other nodes."""
        self.operators = Operators(
            self.shell.feed,
            lambda: self.shell.state,
            self.workers.remains,
            self.ledger.when_written,
        )
        self.neighbours = Neighbours(
            self._loop, self.tree, self.store, self.shell, self.control.lines, self.feed, self._log
        )

    def _boot(self) -> None:
        if not reaper.become_subreaper():
            self._log.warning("cannot become subreaper; orphans of workers may escape")
        self._log.info("starting", node=self.tree.node.name, tree=self.tree.source, pid=self.pid)
        self.announcer.begin()
        begun = self._beginning.begin(
            self._recalled,
            self.store.load_incarnations(),
            seed=secrets.randbits(64),
            name=self.tree.node.name,
            boot_id=self.neighbours.links.boot_id,
            parent=self.tree.parent,
            outbox=self.neighbours.outbox(),
        )
        self.reloads.begin(begun.scales)
        self.workers.captures.rescue(begun.root)
        self.shell.begin(begun.state, begun.effects)
        if begun.anew:
            # Before anybody is started: a kill may come in the first moment. Nobody is kept waiting yet.
            self.ledger.turned(begun.state)
            if not self.ledger.is_written_within(limits.STORE_FIRST_TIMEOUT_S):
                self._log.warning("the disk is slow: a kill now may be a start forgotten")
        self._performer.know(view.worker_specs(self.shell.state))
        self.shell.go(begun.news)
        if begun.news:
            self.shell.settle()
        for event in self._beginning.end_unclaimed():
            self.shell.feed(event)
        if self.tree.parent is not None and self.tree.parent.on_partition == "stop":
            self.announcer.up()  # its tree waits for the parent, its service manager must not
        self.guard = self._beginning.guard(self._loop)
        gc.freeze()  # it stays for long: a full collection that looks at it stops the loop three times as long
        if begun.outdated:
            rows = [row for row in self.rows() if row.path in begun.outdated]
            self.keep_task(asyncio.ensure_future(self.operators.order("restart", rows)))

    async def _close(self) -> None:
        self.shell.close()
        await self.workers.captures.flush()  # the last reports wait for the last lines
        self.reporter.flush()
        if self.shell.has_begun:  # and is over: nothing of it runs any more
            self.ledger.turned(replace(self.shell.state, halted=True))
        await self.control.close()
        self.neighbours.links.close()
        self.workers.close()
        if self.guard is not None:
            self.guard.close()
        lost = await asyncio.to_thread(self.store.close, limits.STORE_CLOSE_TIMEOUT_S)
        if lost:
            self._log.error("reports were lost: the disk did not take them", reports=lost)
        self.announcer.close()
        self._notifier.close()

    # --- the tree as a whole ---------------------------------------------------------------------
    def tree_up(self) -> None:
        """It has come up for the first time."""
        self._log.info("tree is up")
        self.announcer.up()
        if self._console is not None:
            self._console.say(f"the tree is up: {self.tree.source}")

    def halted(self, halt: Halt) -> None:
        """The root has ended: say why where it was not asked to, for people and for the service manager."""
        if halt.asked:
            self.announcer.ended("stopped")
            self._end(EXIT_OK)
            return
        self._log.error("the tree has ended", reason=halt.reason.text, chain=list(halt.chain))
        for line in (*halt.chain, f"root ended: {halt.reason.text}"):
            os.write(2, f"supervisord-ng: {line}\n".encode())
        self.announcer.ended(
            "; ".join((*halt.chain[-1:], f"root ended: {explain(halt.reason.text)}"))
        )
        self._end(EXIT_SOFTWARE)

    def _end(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)

    def _failed(self, error: BaseException) -> None:
        """The core is wrong, and nothing it says may be believed: leave nothing behind and end."""
        self._log.critical("internal error, please report it", exc_info=error)
        self.workers.kill_all()
        flight = self._recorder.flight(self.shell.state, error)
        recorder.keep(flight, self.tree.node.state_dir, self._log.error)
        self._end(EXIT_SOFTWARE)

    def _callback_failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something raised where nobody catches. What means that our books are wrong ends the daemon."""
        error = context.get("exception")
        if isinstance(error, AssertionError | InternalError):
            self._failed(error)
        else:
            self._log.error("a callback failed", what=context.get("message"), exc_info=error)

    # --- small wires -----------------------------------------------------------------------------
    def _drain(self) -> None:
        self.neighbours.links.drain()  # first: what beats lead to judges nodes too
        self.workers.drain()

    def _stored(self, last: int) -> None:
        self.neighbours.stored(last)  # in the writer's thread

    def _traceback_arrived(self, remains: Any) -> None:
        self.reporter.traceback_arrived(remains)

    def _keep_report(self, report: CrashReport) -> None:
        self.ledger.complete(report)
        self._log.warning(
            "crash report",
            id=report.id,
            path=report.path,
            reason=report.reason,
            decision=report.decision.value,
        )

    def _published(self, event: Event) -> None:
        self.announcer.changed()
        if self._console is not None:
            self._console.event(event)
        else:
            path = event.path or self.tree.node.name
            self._log.info(f"{path}: {describe(event)}", event_name=event.event.value)

    def _with_runtime(self, row: Row) -> Row:
        if row.path == self.shell.state.root:
            age_ns = clock.monotonic_ns() - self.started_ns
            return replace(row, uptime_s=age_ns / limits.SECOND if row.ready else None)
        if row.kind != "worker":
            return row
        return replace(
            row,
            status_text=self.workers.status_text(row.path),
            log_dropped_bytes=self.workers.dropped_bytes(row.path),
            adopted=self.workers.is_adopted(row.path),
        )

    def _by_signal(self, order: Coroutine[Any, Any, Any]) -> None:
        async def attempt() -> None:
            try:
                await order
            except ControlError as error:
                for line in error.message.splitlines():
                    self._log.error(line)

        self.keep_task(self._loop.create_task(attempt()))

    def _handle_signals(self) -> None:
        actions: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: lambda: self.stop("SIGTERM"),
            signal.SIGINT: lambda: self.stop("SIGINT"),
            signal.SIGHUP: lambda: self._by_signal(self.reloads.reload(None)),
            signal.SIGUSR1: self.workers.reopen_logs,
            signal.SIGUSR2: lambda: self._by_signal(self.upgrade.begin("SIGUSR2")),
            signal.SIGQUIT: lambda: None,
        }
        for number, act in actions.items():
            signals.handle(self._loop, number, act)
        self._inheritance.release_signals()
