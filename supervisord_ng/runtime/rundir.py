"""The daemon's directories and the lock that keeps a second daemon out of them.

The lock comes before anything is bound: a second bind on the path of an ipc socket of libzmq
silently steals it from the first. It is flock(2), so it ends with the daemon however that ends; the
file stays, because removing it would let two daemons lock two files of the same name.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from supervisord_ng import limits
from supervisord_ng.errors import AlreadyRunningError, SupervisordNGError
from supervisord_ng.model import paths

RUNTIME_DIR_MODE = (
    0o711  # any worker may reach the sockets whose names it was told; nobody may list
)
STATE_DIR_MODE = 0o700  # reports hold what workers print
LOG_DIR_MODE = 0o750
_LOCK_MODE = 0o644


def prepare(runtime_dir: str, state_dir: str, log_dir: str) -> None:
    """Make the directories that are missing, with their modes; check that all can be used.

    Existing directories keep the modes that somebody gave them.

    Raises:
        SupervisordNGError: One can not be made or written, or sockets in `runtime_dir` would have
            paths longer than unix(7) allows.
    """
    longest = os.path.join(runtime_dir, paths.HEARTBEAT_SOCKET)
    length = len(os.fsencode(longest))
    if length > limits.SOCKET_PATH_MAX:
        raise SupervisordNGError(
            f"cannot use runtime directory {runtime_dir}: its sockets' paths are too long: "
            f"{length} bytes with {paths.HEARTBEAT_SOCKET}, at most {limits.SOCKET_PATH_MAX} "
            "(choose a shorter --runtime-dir)"
        )
    _make("runtime directory", runtime_dir, RUNTIME_DIR_MODE)
    _make("state directory", state_dir, STATE_DIR_MODE)
    _make("log directory", log_dir, LOG_DIR_MODE)


def _make(what: str, path: str, mode: int) -> None:
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            pass
        else:
            os.chmod(path, mode)  # what the umask took off
    except OSError as error:
        raise SupervisordNGError(f"cannot make {what} {path}: {_words(error)}") from error
    if not os.path.isdir(path):
        raise SupervisordNGError(f"cannot use {what} {path}: not a directory")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise SupervisordNGError(f"cannot use {what} {path}: permission denied")


class Lock:
    """The right to be the only daemon of some directories, until `release` or our end."""

    def __init__(self, directories: Iterable[str], held: Iterable[int] = ()) -> None:
        """Take the lock of every directory, or none.

        Args:
            directories: each has a lock file of its own.
            held: descriptors of locks that this process holds since it was another program.

        Raises:
            AlreadyRunningError: Another daemon holds one of them.
            SupervisordNGError: A lock file can not be made.
        """
        self._files: dict[tuple[int, int], int] = {}  # (device, inode) to descriptor
        self._held = {_identity(fd): fd for fd in held}
        try:
            for directory in directories:
                self._take(directory)
        except SupervisordNGError:
            self.release()
            raise

    def _take(self, directory: str) -> None:
        path = os.path.join(directory, paths.LOCK)
        try:
            # O_CLOEXEC, as all of Python's: a worker that inherited the lock would hold it after
            # our death.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _LOCK_MODE)
        except OSError as error:
            raise SupervisordNGError(f"cannot open lock file {path}: {_words(error)}") from error
        identity = _identity(file)
        if (
            identity in self._held
        ):  # flock(2) belongs to that descriptor, and would refuse us this one
            os.close(file)
            file = self._held.pop(identity)
        if (
            identity in self._files
        ):  # one directory in both roles: flock(2) would refuse us to ourselves
            os.close(file)
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(file, limits.PID_FILE_MAX, 0).decode(errors="replace").strip()
            os.close(file)
            raise AlreadyRunningError(
                f"cannot use directory {directory}: "
                f"another daemon holds it (pid {holder or 'unknown'})"
            ) from error
        except OSError as error:
            os.close(file)
            raise SupervisordNGError(f"cannot lock {path}: {_words(error)}") from error
        self._files[identity] = file

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Of the locks; whoever has them holds the directories."""
        return tuple(self._files.values())

    def release(self) -> None:
        """Let others have the directories."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _identity(file: int) -> tuple[int, int]:
    status = os.fstat(file)
    return status.st_dev, status.st_ino


def _words(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()
