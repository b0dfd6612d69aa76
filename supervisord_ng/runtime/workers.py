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
from supervisord_ng.core.events import Dumped, Emptied, Event, Exited, Spawned, SpawnFailed
from supervisord_ng.errors import SpawnError
from supervisord_ng.model import names, paths
from supervisord_ng.model.exits import SIGKILL, UNKNOWN, ExitStatus, start_failed
from supervisord_ng.model.remains import Remains
from supervisord_ng.model.reports import Usage
from supervisord_ng.model.spec import NodeSpec
from supervisord_ng.runtime import adoption, clock, diagnosis, procfs
from supervisord_ng.runtime.adoption import Adoptee, Heir
from supervisord_ng.runtime.births import Birth, Births
from supervisord_ng.runtime.captures import Captures, LineTap
from supervisord_ng.runtime.cgroups import Cgroups
from supervisord_ng.runtime.incarnation import Record
from supervisord_ng.runtime.isolation import Isolation
from supervisord_ng.runtime.logs import captured, open_output
from supervisord_ng.runtime.notifications import Notifications
from supervisord_ng.runtime.notify import worker_of
from supervisord_ng.runtime.probes import Prober, Subject
from supervisord_ng.runtime.readiness import Watch
from supervisord_ng.runtime.reaper import Reaper
from supervisord_ng.runtime.speech import Speech
from supervisord_ng.runtime.tokens import Tokens
from supervisord_ng.runtime.troubles import Troubles

T = TypeVar("T")


class Workers:
    """The hands of the shell.

    Args:
        loop: of the daemon.
        node: for its name and directories.
        feed: takes the events that happen.
        on_traceback: called when a worker's own account of its crash has arrived.
        on_problem: told, in words, what could not be done to a worker.
        tokens: of the workers of this node.
        births: where each start is noted.
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
        tokens: Tokens,
        births: Births,
        cgroups: Cgroups | None = None,
        tap: LineTap | None = None,
    ) -> None:
        self._loop = loop
        self._node = node
        self._feed = feed
        self._on_problem = on_problem
        self._records: dict[str, Record] = {}
        self._by_pid: dict[int, Record] = {}
        self.captures = Captures(loop, node.runtime_dir, on_problem, tap)
        troubles = Troubles(on_problem)
        heartbeat_path = os.path.join(node.runtime_dir, paths.HEARTBEAT_SOCKET)
        self._notify_path = os.path.join(node.runtime_dir, paths.NOTIFY_SOCKET)
        self.reaper = Reaper(loop, self._exited, self._emptied, self._last_notifications)
        self._isolation = Isolation(loop, self.reaper, cgroups, on_problem)
        self._prober = Prober(loop, self.reaper)
        self._heirs: dict[str, list[Heir]] = {}
        self._births = births
        self._speech = Speech(
            loop,
            heartbeat_path,
            tokens,
            self._living,
            self._belongs,
            feed,
            on_traceback,
            lambda why: troubles.say("heartbeat", why),
        )
        self.heartbeats = self._speech.server
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
        if heirs := self._heirs.get(effect.path):
            return self._succeeded(record, heirs.pop(0))
        self._births.note(record.name, Birth(effect.incarnation))
        try:
            pid = self._start(record)
        except SpawnError as error:
            self._speech.dismiss(record)
            record.watch.end()
            record.remains.message = error.message
            record.remains.ended = clock.wall_s()
            return SpawnFailed(effect.path, effect.incarnation, start_failed(error.why))
        record.pid = record.main = record.remains.pid = pid
        record.remains.started = clock.wall_s()
        self._by_pid[pid] = record
        record.watch.begin(self._subject(record), record.capture)
        birth = procfs.birth_of(pid)
        self._births.note(record.name, Birth(effect.incarnation, pid, birth))
        return Spawned(effect.path, effect.incarnation, pid, birth)

    def adopt(self, adoptee: Adoptee) -> Exited | None:
        """Take over a worker of an earlier daemon; the answer is its end if that has come meanwhile."""
        effect = Spawn(adoptee.path, adoptee.incarnation, adoptee.spec)
        record = self._begin(effect)
        record.remains.pid, record.remains.started = adoptee.pid, adoptee.since
        record.remains.adopted = True
        record.capture.adopt(*captured(record.spec.launch))
        if not self._take_over(record, adoptee):
            record.capture.finish()
            record.watch.end()
            record.remains.ended = clock.wall_s()
            return Exited(adoptee.path, adoptee.incarnation, UNKNOWN)
        record.watch.begin(self._subject(record), record.capture)
        if adoptee.ready:
            record.watch.became_ready()
        if adoptee.ending:
            record.watch.end()
        return None

    def expect(self, heirs: dict[str, list[Heir]]) -> None:
        """Who was started by an order that the journal does not know: the answers to the next `spawn`s."""
        self._heirs = heirs

    def unclaimed(self) -> dict[str, list[Heir]]:
        """Those of `expect` for whom nobody has asked."""
        return self._heirs

    def _succeeded(self, record: Record, heir: Heir) -> Event:
        """The worker was started already; if it has ended since, that is news."""
        record.remains.pid = heir.pid or None
        if self._take_over(record, heir):
            record.watch.begin(self._subject(record), record.capture)
        else:
            record.remains.adopted = True
            record.remains.ended = clock.wall_s()
            if not heir.pid:
                record.remains.message = "the daemon was killed while it started this worker"
            record.watch.end()
            self._feed(Exited(record.path, record.incarnation, UNKNOWN))
        return Spawned(record.path, record.incarnation, heir.pid, heir.birth)

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

    def is_adopted(self, path: str) -> bool:
        """Whether the worker runs, and an earlier daemon has started it."""
        record = self._records.get(path)
        return record is not None and record.pid is not None and record.remains.adopted

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
            self._births.forget(record.name)

    def close(self) -> None:
        """Close everything. Workers that run are left alone."""
        for path in tuple(self._records):
            self.forget(path)
        self.captures.close()
        self._births.close()
        self._prober.close()
        self._isolation.close()
        self.reaper.close()
        self.heartbeats.close()
        self.notify.close()

    def detach(self) -> None:
        """Let go of everything, for the next daemon to take it up; what has been read is written."""
        for record in self._records.values():
            record.watch.end()
        self.reaper.close()
        self.heartbeats.close()
        self.notify.close()
        self._prober.close()
        self._isolation.detach()
        self.captures.detach()

    # --- starting --------------------------------------------------------------------------------
    def _begin(self, effect: Spawn) -> Record:
        record = self._records.get(effect.path)
        if record is None:
            capture = self.captures.open(names.leaf(effect.path), effect.spec.log)
            record = self._records[effect.path] = Record(effect.path, capture)
        else:
            self._speech.dismiss(record)
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

    def _take_over(self, record: Record, it: Adoptee | Heir) -> bool:
        """Make a running process that of this record, if it is the one that was meant and lives."""
        held = adoption.hold(it.pid, it.birth)
        if held is None:
            return False
        launch = record.spec.launch
        record.remains.adopted = record.remains.spoke = True
        record.capture.adopt(*captured(launch))
        self._speech.admit(record, it.incarnation)
        self._isolation.adopt(record.name, launch, held, f"SNG_TOKEN={record.token}", it.marked)
        record.pid, record.main = held.session, it.pid
        self._by_pid[held.session] = record
        return True

    def _subject(self, record: Record) -> Subject:
        return Subject(record.spec.launch, self._identity(record))

    def _identity(self, record: Record) -> dict[str, str]:
        return record.identity(self._node.name, self.heartbeats.endpoint)

    def _environment(self, record: Record) -> dict[str, str]:
        """What a worker is told about itself; from now on it may speak."""
        self._speech.admit(record, record.incarnation)
        return self._identity(record) | record.credentials(self._notify_path)

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
