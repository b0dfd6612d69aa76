"""systemd's notification protocol for workers: one datagram socket. See sd_notify(3).

The kernel says who sent a datagram (SCM_CREDENTIALS, unix(7)); what the sender says about itself
counts for nothing. Which worker a process belongs to is answered by `worker_of` from what the
caller knows of its workers; what a notification means is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterable

from supervisord_ng import limits
from supervisord_ng.errors import ProtocolError
from supervisord_ng.runtime import procfs

SOCKET_MODE = 0o666  # anyone may send: the kernel's credentials decide

_TOKEN = b"SNG_TOKEN="
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_ANCILLARY_BYTES = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(
    limits.NOTIFY_FDS_MAX * struct.calcsize("i")
)


class NotifyServer:
    """The socket behind $NOTIFY_SOCKET; without a system call while nobody speaks.

    Descriptors that come with a datagram are closed once it has been handled: for BARRIER=1 that
    is the answer that its sender waits for, and there is no store for FDSTORE=1.

    Args:
        loop: the loop that reads the socket.
        path: of the socket, at most `limits.SOCKET_PATH_MAX` bytes; one left by a dead daemon is
            replaced, so the caller must hold the lock of the directory.
        on_notify: called for each valid datagram with the sender's pid and uid and the assignments.
        on_rejected: told, in words, of everything that is counted in `rejected`.

    Raises:
        OSError: the socket cannot be bound at `path`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        on_notify: Callable[[int, int, dict[str, str]], None],
        on_rejected: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.rejected = 0
        self._on_rejected = on_rejected
        self._loop = loop
        self._path = path
        self._on_notify = on_notify
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(path)
            os.chmod(path, SOCKET_MODE)
        except OSError:
            self._socket.close()
            raise
        loop.add_reader(self._socket.fileno(), self._read, limits.NOTIFY_BATCH)

    def drain(self) -> None:
        """Handle all that has arrived."""
        self._read(limits.NOTIFY_DRAIN_MAX)

    def _read(self, at_most: int) -> None:
        """Handle what has arrived; the loop calls again for more."""
        for _ in range(at_most):
            if self._socket.fileno() == -1:  # closed by what a notification led to
                return
            try:
                datagram, ancillary, flags, _ = self._socket.recvmsg(
                    limits.NOTIFY_DATAGRAM_MAX, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            descriptors = _descriptors(ancillary)
            try:
                self._handle(datagram, ancillary, flags)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def reject(self, why: str) -> None:
        """Count something that was said and is dropped; `why` in words."""
        self.rejected += 1
        self._on_rejected(why)

    def close(self) -> None:
        """Stop listening and remove the socket. Safe to call twice."""
        if self._socket.fileno() == -1:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _handle(
        self, datagram: bytes, ancillary: Iterable[tuple[int, int, bytes]], flags: int
    ) -> None:
        sender = "nobody"
        try:
            pid, uid = _sender(ancillary)
            sender = f"pid {pid}, uid {uid}"
            assignments = parse(datagram, truncated=bool(flags & socket.MSG_TRUNC))
        except ProtocolError as error:
            self.reject(f"{error} (from {sender})")
            return
        self._on_notify(pid, uid, assignments)


def parse(datagram: bytes, *, truncated: bool = False) -> dict[str, str]:
    """Split a notification into its assignments.

    Of a key that comes twice the first counts, and lines without "=" are skipped, as in systemd.

    Raises:
        ProtocolError: not UTF-8, a NUL inside, no assignment at all, or `truncated` by the kernel.
    """
    if truncated:
        raise ProtocolError(
            f"cannot read notification: longer than {limits.NOTIFY_DATAGRAM_MAX} bytes"
        )
    if b"\0" in datagram:
        raise ProtocolError("cannot read notification: a NUL inside")
    try:
        text = datagram.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"cannot read notification: {error.reason}") from None
    assignments: dict[str, str] = {}
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if key and equals:
            assignments.setdefault(key, value)
    if not assignments:
        raise ProtocolError("cannot read notification: no KEY=value in it")
    return assignments


def worker_of(
    pid: int,
    is_worker_pid: Callable[[int], bool],
    worker_by_token: Callable[[bytes], int | None] = lambda _token: None,
) -> int | None:
    """Find the worker that a process belongs to.

    Every worker is the leader of its own session, so the session id tells; a process that has
    left the session is traced by its parents, at most `limits.ANCESTORS_MAX` of them. Who forked
    twice as well has come to us as an orphan: the token in its environment tells.

    Args:
        pid: of any process; it may be gone by now.
        is_worker_pid: says whether this is the main process of a worker.
        worker_by_token: the main process of the worker that was started with this $SNG_TOKEN.

    Returns:
        The pid of the worker's main process; None for a stranger, or where nothing can be known
        any more.
    """
    if pid <= 0:  # the sender lives in a pid namespace that we cannot see
        return None
    with contextlib.suppress(ProcessLookupError):
        session = os.getsid(pid)
        if is_worker_pid(session):
            return session
    ancestor = pid
    for _ in range(limits.ANCESTORS_MAX):
        if is_worker_pid(ancestor):
            return ancestor
        stat = procfs.stat_of(ancestor)
        if stat is None or stat.parent == 0:
            return None
        if stat.parent == os.getpid():
            token = _token_of(pid)
            return None if token is None else worker_by_token(token)
        ancestor = stat.parent
    return None


def _token_of(pid: int) -> bytes | None:
    found = (word for word in procfs.environment_of(pid) if word.startswith(_TOKEN))
    return next((word.removeprefix(_TOKEN) for word in found), None)


def _sender(ancillary: Iterable[tuple[int, int, bytes]]) -> tuple[int, int]:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid, uid, _ = _CREDENTIALS.unpack_from(data)
            return pid, uid
    raise ProtocolError("cannot accept notification: no credentials of the sender")


def _descriptors(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    found: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(data) // struct.calcsize("i")
            found.extend(struct.unpack_from(f"{whole}i", data))
    return found
