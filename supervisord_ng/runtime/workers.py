"""Carries the core's effects about workers out on real processes, and tells the core what becomes of them.

One record for each worker that ever ran, of its latest incarnation. Joins the hands: `isolation`, `reaper`,
`logs`, `heartbeats`, `notify`. It knows what is asked and what happens, never why.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

from supervisord_ng import limits
from supervisord_ng.core.effects import AskStop, Dump, Kill, Reconfigure, Spawn
from supervisord_ng.core.events import (
    Beat,
    Beats,
    BecameReady,
    Dumped,
    Emptied,
    Event,
    Exited,
    SelfStopping,
    Spawned,
    SpawnFailed,
)
from supervisord_ng.errors import SpawnError
from supervisord_ng.model import names, paths
from supervisord_ng.model.exits import SIGKILL, UNKNOWN, ExitStatus, start_failed
from supervisord_ng.model.remains import Remains
from supervisord_ng.model.reports import Usage
from supervisord_ng.model.spec import NodeSpec
from supervisord_ng.runtime import clock, diagnosis
from supervisord_ng.runtime.captures import Captures, LineTap
from supervisord_ng.runtime.cgroups import Cgroups
from supervisord_ng.runtime.heartbeats import HeartbeatServer, Received
from supervisord_ng.runtime.incarnation import Record
from supervisord_ng.runtime.isolation import Isolation
from supervisord_ng.runtime.logs import open_output
from supervisord_ng.runtime.notifications import Notifications
from supervisord_ng.runtime.notify import worker_of
from supervisord_ng.runtime.probes import Prober, Subject
from supervisord_ng.runtime.readiness import Watch
from supervisord_ng.runtime.reaper import Reaper
from supervisord_ng.runtime.troubles import Troubles
from supervisord_ng.wire import heartbeat as wire

T = TypeVar("T")


class Workers:
    """The hands of the shell.

    Args:
        loop: of the daemon.
        node: for its name and directories.
        feed: takes the events that happen.
        on_traceback: called when a worker's own account of its crash has arrived.
        on_problem: told, in words, what could not be done to a worker.
        cgroups: where workers get cgroups of their own, None for nowhere.
        tap: gets the workers' output as lines, None for nobody.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        node: NodeSpec,
        feed: Callable[[Event], None],
        on_traceback: Callable[[Remains], None],
        on_problem: Callable[[str], None],
        cgroups: Cgroups | None = None,
        tap: LineTap | None = None,
    ) -> None:
        self._loop = loop
        self._node = node
        self._feed = feed
        self._on_traceback = on_traceback
        self._on_problem = on_problem
        self._records: dict[str, Record] = {}
        self._by_pid: dict[int, Record] = {}
        self._leaving: dict[
            str, Remains
        ] = {}  # by token: gone, but its last words may be on their way
        self.captures = Captures(loop, node.runtime_dir, on_problem, tap)
        troubles = Troubles(on_problem)
        heartbeat_path = os.path.join(node.runtime_dir, paths.HEARTBEAT_SOCKET)
        self._notify_path = os.path.join(node.runtime_dir, paths.NOTIFY_SOCKET)
        self.reaper = Reaper(loop, self._exited, self._emptied, self._last_notifications)
        self._isolation = Isolation(loop, self.reaper, cgroups, on_problem)
        self._prober = Prober(loop, self.reaper)
        self.heartbeats = HeartbeatServer(
            loop,
            heartbeat_path,
            self._heard,
            self._belongs,
            lambda why: troubles.say("heartbeat", why),
        )
        self.notify = Notifications(
            loop,
            self._notify_path,
            self._record_of,
            self.reaper,
            feed,
            lambda why: troubles.say("notify", why),
        )

    # --- effects ---------------------------------------------------------------------------------
    def spawn(self, effect: Spawn) -> Event:
        """Start a worker; answers at once, because exec(2) does."""
        record = self._begin(effect)
        try:
            pid = self._start(record)
        except SpawnError as error:
            self._unregister(record)
            record.watch.end()
            record.remains.message = error.message
            record.remains.ended = clock.wall_s()
            return SpawnFailed(effect.path, effect.incarnation, start_failed(error.why))
        record.pid = record.main = record.remains.pid = pid
        record.remains.started = clock.wall_s()
        self._by_pid[pid] = record
        record.watch.begin(Subject(record.spec.launch, self._identity(record)), record.capture)
        return Spawned(effect.path, effect.incarnation, pid)

    def ask_stop(self, effect: AskStop) -> None:
        """Ask by the SDK's frame and by the signal; a worker is free to act on either."""
        record = self._living(effect.path, effect.incarnation)
        if record is None or record.pid is None:
            return
        record.watch.end()
        if record.token is not None:
            grace = None if effect.grace_ns is None else effect.grace_ns // limits.MS
            self.heartbeats.send_stop(record.token, grace)
        self.signal(effect.path, effect.signal, whole=effect.whole)

    def kill(self, effect: Kill) -> None:
        """SIGKILL to all that is left of it."""
        record = self._living(effect.path, effect.incarnation)
        if record is not None:
            record.watch.end()
            self.signal(effect.path, SIGKILL, whole=True)

    def dump(self, effect: Dump) -> Event | None:
        """Keep what the system knows of it, and ask for the stacks; who cannot be asked has answered."""
        record = self._living(effect.path, effect.incarnation)
        if record is not None and record.main is not None:
            record.watch.end()
            record.remains.stacks = diagnosis.describe(record.main)
            if record.token is not None and self.heartbeats.send_dump(record.token):
                return None
        return Dumped(effect.path, effect.incarnation)

    def reconfigure(self, effect: Reconfigure) -> None:
        """A worker is specified otherwise, in keys that its process need not know."""
        record = self._records.get(effect.path)
        if record is not None:
            record.spec = effect.spec
            record.capture.configure(effect.spec.log)
            record.watch.reconfigure(effect.spec)

    def signal(self, path: str, number: int, *, whole: bool) -> bool:
        """Send a signal to a worker's main process or to all of it; False when nothing is there."""
        record = self._records.get(path)
        if record is None or record.pid is None:
            return False
        try:
            if whole:
                return self.reaper.signal_group(record.pid, number)
            return self.reaper.signal(record.pid, number) or self.reaper.signal_group(
                record.pid, number
            )
        except PermissionError as error:
            self._on_problem(f"cannot signal {path} (pid {record.pid}): {error.strerror}")
            return False

    # --- what others want to know ----------------------------------------------------------------
    def remains(self, path: str) -> Remains | None:
        """What is known of the latest incarnation of the worker at `path`."""
        record = self._records.get(path)
        return None if record is None else record.remains

    def read_log(self, path: str, read: Callable[[int], T], done: Callable[[T], None]) -> None:
        """Read a worker's log when all that it has written is in it; see `Capture.when_written`."""
        self._records[path].capture.when_written(read, done)

    def status_text(self, path: str) -> str | None:
        """The last line that the worker said of itself."""
        record = self._records.get(path)
        return None if record is None else record.status

    def dropped_bytes(self, path: str) -> int:
        """Output that was lost because the disk did not take it."""
        record = self._records.get(path)
        return 0 if record is None else record.capture.dropped_bytes

    def kill_all(self) -> None:
        """SIGKILL to every worker, because nobody is left to supervise them."""
        for record in tuple(self._by_pid.values()):
            record.watch.end()
            self.signal(record.path, SIGKILL, whole=True)

    def drain(self) -> None:
        """Take in every sign of life that has arrived."""
        self.heartbeats.drain()
        self.notify.drain()

    def reopen_logs(self) -> None:
        """Somebody has moved the log files away: begin new ones."""
        self.captures.reopen()

    def forget(self, path: str) -> None:
        """The child was removed from the tree: close its log."""
        record = self._records.pop(path, None)
        if record is not None:
            record.watch.end()
            self.captures.forget(record.name)
            self._isolation.forget(record.name)

    def close(self) -> None:
        """Close everything. Workers that run are left alone."""
        for path in tuple(self._records):
            self.forget(path)
        self.captures.close()
        self._prober.close()
        self._isolation.close()
        self.reaper.close()
        self.heartbeats.close()
        self.notify.close()

    # --- starting --------------------------------------------------------------------------------
    def _begin(self, effect: Spawn) -> Record:
        record = self._records.get(effect.path)
        if record is None:
            capture = self.captures.open(names.leaf(effect.path), effect.spec.log)
            record = self._records[effect.path] = Record(effect.path, capture)
        else:
            self._unregister(record)
        record.begin(effect)
        record.capture.configure(effect.spec.log)
        record.watch = Watch(self._loop, self._prober, self._feed, effect.spec, record.remains)
        return record

    def _start(self, record: Record) -> int:
        launch = record.spec.launch
        output = open_output(launch, record.capture)
        try:
            with record.watch.descriptors() as descriptors:
                environment = self._environment(record)
                return self._isolation.start(
                    record.name,
                    launch,
                    environment=environment,
                    mark=f"SNG_TOKEN={record.token}",
                    stdout=output.stdout,
                    stderr=output.stderr,
                    pass_fds=descriptors,
                )
        finally:
            for fd in output.to_close:
                os.close(fd)

    def _identity(self, record: Record) -> dict[str, str]:
        return record.identity(self._node.name, self.heartbeats.endpoint)

    def _environment(self, record: Record) -> dict[str, str]:
        """What a worker is told about itself; from now on it may speak."""
        heartbeat = record.spec.heartbeat
        record.token = self.heartbeats.register(
            record.path,
            record.incarnation,
            record.spec.launch.user,
            0 if heartbeat is None else heartbeat.interval_ns // limits.MS,
            0 if heartbeat is None else heartbeat.timeout_ns // limits.MS,
            awaited=record.spec.ready.kind == "heartbeat",
        )
        return self._identity(record) | record.credentials(self._notify_path)

    def _unregister(self, record: Record) -> None:
        """Let an incarnation speak no more; one that has just died may have its last words on their way."""
        token = record.token
        if token is None:
            return
        record.token = None
        if record.remains.spoke:
            self._leaving[token] = record.remains
            delay_s = limits.CRASH_FRAME_WAIT_NS / limits.SECOND
            self._loop.call_later(delay_s, self._left, token)
        else:
            self.heartbeats.unregister(token)

    def _left(self, token: str) -> None:
        del self._leaving[token]
        self.heartbeats.unregister(token)

    # --- what happens ----------------------------------------------------------------------------
    def _living(self, path: str, incarnation: int) -> Record | None:
        record = self._records.get(path)
        return record if record is not None and record.incarnation == incarnation else None

    def _last_notifications(self) -> None:
        """Who died may have spoken before, and only as long as it is not reaped we know who that was."""
        self.notify.drain()

    def _exited(self, pid: int, status: ExitStatus | None, usage: Usage | None) -> None:
        if self._prober.exited(pid, status):
            return
        record = self._by_pid[pid]
        empty = self.reaper.group_is_empty(pid)
        record.capture.show_now()
        if empty:
            record.capture.finish()
        record.watch.end()
        self.heartbeats.drain()  # its last words were sent before it died
        record.remains.ended = clock.wall_s()
        record.remains.usage = usage
        record.remains.core_dumped = status is not None and status.core_dumped
        if empty:
            del self._by_pid[pid]
        self._feed(Exited(record.path, record.incarnation, status or UNKNOWN, empty=empty))

    def _emptied(self, pid: int) -> None:
        if self._prober.emptied(pid):
            return
        record = self._by_pid.pop(pid)
        record.capture.finish()
        self._feed(Emptied(record.path, record.incarnation))

    def _belongs(self, path: str, pid: int) -> bool:
        """Whether a process is part of a worker; one that is gone by now may have been."""
        record = self._records.get(path)
        if record is None or record.pid is None or not os.path.exists(f"/proc/{pid}"):
            return True
        return self._record_of(pid) is record

    def _record_of(self, pid: int) -> Record | None:
        """The worker that a process is part of, as long as anything of it is left."""
        worker = worker_of(pid, self._by_pid.__contains__, self._worker_by_token)
        return None if worker is None else self._by_pid[worker]

    def _worker_by_token(self, token: bytes) -> int | None:
        records = self._by_pid.items()
        return next((pid for pid, it in records if it.token and it.token.encode() == token), None)

    def _heard(self, received: list[Received]) -> None:
        """A batch of messages of the SDK: all signs of life in it are one event."""
        beats: list[Beat] = []
        others: list[Event] = []
        for path, incarnation, message in received:
            record = self._living(path, incarnation)
            if record is None:
                self._last_words(path, incarnation, message)
                continue
            record.remains.spoke = True
            if isinstance(message, wire.Beat):
                beats.append(Beat(path, incarnation, message.progress))
            else:
                others += self._said(record, message)
        if beats:
            self._feed(Beats(tuple(beats)))
        for event in others:
            self._feed(event)

    def _last_words(self, path: str, incarnation: int, message: wire.WorkerMessage) -> None:
        """A crash was told before the end and arrives after the next start; a beat so late is nobody's."""
        if isinstance(message, wire.Beat):
            self.heartbeats.reject(f"cannot accept beat of {path} #{incarnation}: it has ended")
        for remains in self._leaving.values():
            told = (remains.path, remains.incarnation) == (path, incarnation)
            if told and isinstance(message, wire.Crash):
                self._keep_traceback(remains, message)

    def _keep_traceback(self, remains: Remains, crash: wire.Crash) -> None:
        remains.traceback = crash.traceback
        remains.message = f"{crash.type}: {crash.message}"
        self._on_traceback(remains)

    def _said(self, record: Record, message: wire.WorkerMessage) -> list[Event]:
        match message:
            case wire.Ready() if record.spec.ready.kind == "heartbeat":
                record.watch.became_ready()
                return [BecameReady(record.path, record.incarnation)]
            case wire.Stopping() if record.spec.heartbeat is not None:
                record.watch.end()  # without a heartbeat nobody misses it: it may as well work on
                return [SelfStopping(record.path, record.incarnation)]
            case wire.Status(text):
                record.status = text
            case wire.Crash():
                self._keep_traceback(record.remains, message)
            case wire.Stacks(text):
                record.remains.stacks = f"{text}\n{record.remains.stacks or ''}"
                return [Dumped(record.path, record.incarnation)]
            case _:
                pass
        return []
