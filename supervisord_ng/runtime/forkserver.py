"""The fork server: a small program beside the daemon that starts workers for which Popen is not enough.

Resource limits, niceness and the like have to be set in the child itself, before exec. From outside they come
too late, and a program in front of the worker's own (prlimit, setpriv) would run as the worker's user, without
the right to raise anything, and its failure would look like the worker's. The daemon has threads, so that it
must not run Python between fork and exec (`preexec_fn` may deadlock). This process has one thread, and may.

Run as ``python -I -S forkserver.py`` with a socket as standard input; ends when that is closed. Knows nothing
of the package and imports only what it needs: a fork of it stays cheap. The other end is `runtime.launcher`.

A request is its length (4 bytes), JSON, and descriptors: the report pipe, standard input, output and error,
more for the worker, the directory of its cgroup. The answer comes through the report pipe: the child's pid
(4 bytes), then nothing when exec succeeds, which closes the pipe, or JSON about the step that failed. A pipe
that closes without a pid tells that there is no child, whatever became of this program.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
from typing import Any, NoReturn

LENGTH = struct.Struct("=I")
PID = struct.Struct("=i")  # 0 where no process could be made
FDS_MAX = 253  # SCM_MAX_FD, unix(7)

_SYS_CLONE3 = 435  # the same on every architecture
_CLONE_PARENT = 0x8000  # linux/sched.h
_CLONE_INTO_CGROUP = 0x2_0000_0000
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h

# Not CDLL, which lets go of the GIL: the child must wake up holding it.
_libc = ctypes.PyDLL(None, use_errno=True)


class _CloneArgs(ctypes.Structure):
    """clone3(2)."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size"),
            *("tls", "set_tid", "set_tid_size", "cgroup"),
        )
    )


class StepError(Exception):
    """A step before exec failed: which one, and on what."""

    def __init__(self, step: str, error: int, what: str = "") -> None:
        super().__init__(step)
        self.step = step
        self.error = error
        self.what = what


def serve(control: socket.socket) -> None:
    """Answer requests until the daemon is gone."""
    while True:
        first, fds = _received(control)
        if not first:
            return
        (length,) = LENGTH.unpack(first + _exactly(control, LENGTH.size - len(first)))
        request = json.loads(_exactly(control, length))
        cgroup = fds.pop() if request["in_cgroup"] else None
        try:
            _fork(request, fds, cgroup)
        except OSError as error:
            os.write(fds[0], PID.pack(0) + _failure("other", error.errno))
        for fd in (*fds, *(() if cgroup is None else (cgroup,))):
            os.close(fd)


def _received(control: socket.socket) -> tuple[bytes, list[int]]:
    """The beginning of a request, and the descriptors that come with it.

    Not socket.recv_fds: that drops its flags, and the worker would inherit everything.
    """
    fds = array.array("i")
    first, ancillary, _, _ = control.recvmsg(
        LENGTH.size, socket.CMSG_SPACE(FDS_MAX * fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return first, list(fds)


def _exactly(control: socket.socket, length: int) -> bytes:
    """So many bytes; the daemon sends whole requests or dies."""
    parts = bytearray()
    while len(parts) < length:
        part = control.recv(length - len(parts))
        if not part:
            raise SystemExit(0)
        parts += part
    return bytes(parts)


# --- forking -------------------------------------------------------------------------------------------------


def _fork(request: dict[str, Any], fds: list[int], cgroup: int | None) -> None:
    """Make the worker's process, a child of the daemon and not of this one.

    The daemon must be its parent before it runs: a worker may look at its parent, or want to die with it
    (prctl(2), PR_SET_PDEATHSIG).
    """
    try:
        pid = _clone(cgroup)
    except OSError as error:
        # Seccomp filters of containers refuse clone3 (ENOSYS, EPERM), Linux before 5.7 the cgroup
        # (E2BIG, EINVAL).
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.E2BIG, errno.EINVAL):
            raise
        _fork_twice(request, fds, cgroup)
        return
    if pid == 0:
        _become(request, fds)


def _clone(cgroup: int | None) -> int:
    """fork(2) of a sibling, born in its cgroup: to move it there later costs milliseconds.

    Moving a process takes a lock that every fork and exit of the host has a share in (the kernel's
    cgroup_threadgroup_rwsem), and taking that waits for an RCU grace period.

    What else libc and Python do around a fork is for processes with threads.
    """
    arguments = _CloneArgs(flags=_CLONE_PARENT)  # its exit signal is then that of this process
    if cgroup is not None:
        arguments.flags |= _CLONE_INTO_CGROUP
        arguments.cgroup = cgroup
    pid: int = _libc.syscall(
        ctypes.c_long(_SYS_CLONE3),
        ctypes.byref(arguments),
        ctypes.c_size_t(ctypes.sizeof(arguments)),
    )
    if pid < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return pid


def _fork_twice(request: dict[str, Any], fds: list[int], cgroup: int | None) -> None:
    """The same without clone3: an orphan falls to the daemon, its subreaper (prctl(2))."""
    middle = os.fork()
    if middle == 0:
        try:
            alive = os.pidfd_open(os.getpid())
            if os.fork() == 0:
                # Readable when that process is dead, which is after its children were handed on.
                select.select([alive], [], [])
                os.close(alive)
                _become(request, fds, cgroup)
        except OSError as error:
            os.write(fds[0], PID.pack(0) + _failure("other", error.errno))
        finally:
            os._exit(0)
    os.waitpid(middle, 0)


# --- in the child --------------------------------------------------------------------------------------------


def _become(request: dict[str, Any], fds: list[int], cgroup: int | None = None) -> NoReturn:
    """Turn this process into the worker, or say on the report pipe which step failed."""
    report = fds[0]
    failure = _failure("other", 0)
    try:
        os.write(report, PID.pack(os.getpid()))
        if cgroup is not None:
            _join(cgroup)
        os.setsid()
        report = _place_descriptors(fds, (0, 1, 2, *request["pass_fds"]))
        _change_directory(request["directory"])
        os.umask(request["umask"])
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these
            signal.signal(number, signal.SIG_DFL)
        # Before the user changes: to raise any of these may need the daemon's privileges.
        _set_oom_score_adj(request["oom_score_adj"])
        _set_nice(request["nice"])
        _set_limits(request["limits"])
        _change_identity(request["groups"], request["group"], request["user"])
        if request["no_new_privileges"]:
            _set_no_new_privileges()
        _execute(request)
    except StepError as failed:
        failure = _failure(failed.step, failed.error, failed.what)
    except OSError as failed:
        failure = _failure("other", failed.errno)
    except ValueError as failed:  # a NUL byte in an argument, '=' in the name of a variable
        failure = _failure("argument", errno.EINVAL, str(failed))
    except MemoryError:  # a limit too small even for what is left to do
        failure = _failure("other", errno.ENOMEM)
    except BaseException as failed:  # noqa: BLE001 - our bug; it is told, and this process ends
        failure = _failure("other", 0, repr(failed))
    finally:  # whatever happens, nothing of the server may go on in here
        os.write(report, failure)
        os._exit(127)


def _failure(step: str, error: int | None, what: str = "") -> bytes:
    return json.dumps({"step": step, "errno": error, "what": what}).encode()


def _join(cgroup: int) -> None:
    try:
        procs = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup)
        os.write(procs, b"0")
        os.close(procs)
    except OSError as error:
        raise StepError("cgroup", error.errno or 0) from error


def _place_descriptors(fds: list[int], numbers: tuple[int, ...]) -> int:
    """Give each descriptor the number that the worker knows it by; return the report pipe's new one."""
    above = max(numbers) + 1
    report, *sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in fds]
    for source, number in zip(sources, numbers, strict=True):
        os.dup2(source, number, inheritable=True)
    return report


def _change_directory(directory: str | None) -> None:
    if directory is not None:
        try:
            os.chdir(_bytes(directory))
        except OSError as error:
            raise StepError("directory", error.errno or 0) from error


def _set_oom_score_adj(value: int | None) -> None:
    if value is not None:
        try:
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write(str(value))
        except OSError as error:
            raise StepError("oom_score_adj", error.errno or 0, str(value)) from error


def _set_nice(value: int | None) -> None:
    if value is not None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, value)
        except OSError as error:
            raise StepError("nice", error.errno or 0, str(value)) from error


def _set_limits(wanted: dict[str, int]) -> None:
    for name, value in wanted.items():
        try:
            # Not setrlimit: that hides the errno in a ValueError.
            resource.prlimit(0, getattr(resource, f"RLIMIT_{name.upper()}"), (value, value))
        except OSError as error:
            raise StepError("limits", error.errno or 0, name) from error


def _change_identity(groups: list[int] | None, group: int | None, user: int | None) -> None:
    """In this order: once the user is another, nothing else can be changed."""
    try:
        if groups is not None:
            os.setgroups(groups)
        if group is not None:
            os.setresgid(group, group, group)
        if user is not None:
            os.setresuid(user, user, user)
    except OSError as error:
        raise StepError("identity", error.errno or 0) from error


def _set_no_new_privileges() -> None:
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) != 0:
        raise StepError("no_new_privileges", ctypes.get_errno())


def _execute(request: dict[str, Any]) -> NoReturn:
    """execve(2) on each file that the program may be, as Popen does; comes back by failure only."""
    command = [_bytes(word) for word in request["command"]]
    environment = {_bytes(name): _bytes(value) for name, value in request["environment"].items()}
    absent, refused = errno.ENOENT, 0
    for file in request["files"]:
        try:
            os.execve(_bytes(file), command, environment)  # noqa: S606 - a shell is not wanted
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                absent = error.errno
            else:
                refused = refused or error.errno or 0
    raise StepError("exec", refused or absent)


def _bytes(text: str) -> bytes:
    """JSON has no bytes; each travels as the character of the same number."""
    return text.encode("latin-1")


if __name__ == "__main__":
    gc.freeze()  # what is here now is for ever; a collection in a child would only copy pages
    with socket.socket(fileno=os.dup(0)) as daemon:
        serve(daemon)
