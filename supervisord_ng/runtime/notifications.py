"""What workers say in systemd's protocol, taken in: of whom it is, what it means, what has to be done for it.

Joins the socket (`notify`), the words (`sdnotify`) and the records of workers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from supervisord_ng.core.events import BecameReady, Event, MainChanged
from supervisord_ng.errors import ProtocolError
from supervisord_ng.runtime import procfs, sdnotify
from supervisord_ng.runtime.incarnation import Record
from supervisord_ng.runtime.notify import NotifyServer
from supervisord_ng.runtime.reaper import Reaper


class Notifications:
    """Hears every process of every worker.

    Args:
        loop: of the daemon.
        path: of the socket.
        record_of: the worker that a process is part of, None of a stranger.
        reaper: learns of new main processes.
        feed: takes the events.
        on_rejected: told, in words, of what is counted and dropped.

    Raises:
        OSError: the socket cannot be bound at `path`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        record_of: Callable[[int], Record | None],
        reaper: Reaper,
        feed: Callable[[Event], None],
        on_rejected: Callable[[str], None],
    ) -> None:
        self._record_of = record_of
        self._reaper = reaper
        self._feed = feed
        self._server = NotifyServer(loop, path, self._heard, on_rejected)

    @property
    def rejected(self) -> int:
        """How many notifications were counted and dropped."""
        return self._server.rejected

    def drain(self) -> None:
        """Take in what has arrived."""
        self._server.drain()

    def close(self) -> None:
        """Stop listening. Safe to call twice."""
        self._server.close()

    def _heard(self, pid: int, uid: int, said: dict[str, str]) -> None:
        """A notification; the kernel says of which process."""
        try:
            record = self._record_of(pid)
            if record is None:
                raise _refusal("it is of no worker")
            self._take(record, sdnotify.meaning(said, record.path, record.incarnation))
        except ProtocolError as error:
            self._server.reject(f"{error} (from pid {pid}, uid {uid})")

    def _take(self, record: Record, meaning: sdnotify.Meaning) -> None:
        if meaning.main_pid is not None and meaning.main_pid != record.main:
            self._hand_over(record, meaning.main_pid, meaning.main_id)
        if meaning.status is not None:
            record.status = meaning.status
        elif meaning.ready and record.status == sdnotify.RELOADING:
            record.status = None
        if meaning.failure is not None:
            record.remains.message = meaning.failure
        if meaning.ready and record.spec.ready.kind == "notify":
            record.watch.became_ready()
            self._feed(BecameReady(record.path, record.incarnation))
        if meaning.stopping:
            record.watch.end()
        for event in meaning.events:
            self._feed(event)

    def _hand_over(self, record: Record, main: int, main_id: int | None) -> None:
        """MAINPID=: another process of the worker is its main process from now on.

        In its session it has to be: by that the worker is known, and as long as somebody is in it the
        number is nobody else's.

        Raises:
            ProtocolError: it is not, or there is no such process.
        """
        assert record.pid is not None
        if self._reaper.is_main_gone(record.pid):
            raise _refusal(f"MAINPID={main}: its main process has ended already")
        try:
            # Opened before anything is asked of it: the number could become somebody else's.
            pidfd = os.pidfd_open(main)
        except OSError as error:
            raise _refusal(f"MAINPID={main}: {os.strerror(error.errno or 0).lower()}") from error
        why = None
        if main_id is not None and os.fstat(pidfd).st_ino != main_id:
            why = "MAINPIDFDID is of another process"
        elif not _is_in_session(main, record.pid):
            why = f"it is not in the session of {record.path}"
        if why is not None:
            os.close(pidfd)
            raise _refusal(f"MAINPID={main}: {why}")
        self._reaper.hand_over(record.pid, main, pidfd)
        record.main = record.remains.pid = main
        self._feed(MainChanged(record.path, record.incarnation, main, procfs.birth_of(main)))


def _is_in_session(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False


def _refusal(why: str) -> ProtocolError:
    return ProtocolError(f"cannot accept notification: {why}")
