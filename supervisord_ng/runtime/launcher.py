"""The daemon's side of the fork server: starts it when it is needed, asks it for workers, hears how that went.

See `runtime.forkserver` for what it is and why.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys

from supervisord_ng import limits
from supervisord_ng.errors import SpawnError
from supervisord_ng.runtime import forkserver, spawn_errors
from supervisord_ng.runtime.spawn_errors import Attempt


class Launcher:
    """Starts workers through a fork server, which it starts at the first use and when it has died."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._pidfd = -1

    def start(
        self,
        attempt: Attempt,
        stdout: int,
        stderr: int,
        pass_fds: tuple[int, ...],
        cgroup: int | None,
    ) -> int:
        """Start a worker, a child of this process; return its pid when its exec(2) has succeeded.

        Blocks for that long, some milliseconds, as Popen does.

        Raises:
            SpawnError: a step failed, or there is no fork server to be had.
        """
        try:
            with open(os.devnull, "rb+", buffering=0) as null:
                out = null.fileno() if stdout == subprocess.DEVNULL else stdout
                err = null.fileno() if stderr == subprocess.DEVNULL else stderr
                fds = [null.fileno(), out, err, *pass_fds]
                if cgroup is not None:
                    fds.append(cgroup)
                request = _encode(attempt, pass_fds, in_cgroup=cgroup is not None)
                # Somebody may have killed it: without an answer there is no child either, so ask another one.
                answer = self._ask(request, fds) or self._ask(request, fds)
        except OSError as error:
            self.close()
            number = error.errno or errno.ETIMEDOUT  # of a socket that nobody reads
            why, said = spawn_errors.name(number), spawn_errors.words(number)
            text = f"cannot ask the fork server ({sys.executable}): {said}"
            raise SpawnError(why, text) from error
        if not answer:
            raise spawn_errors.of_step("other", errno.EPIPE, "", attempt)
        pid: int = forkserver.PID.unpack_from(answer)[0]
        failure = answer[forkserver.PID.size :]
        if not failure:
            return pid
        if pid:
            os.waitpid(pid, 0)  # it reports with its last breath
        told = json.loads(failure)
        raise spawn_errors.of_step(told["step"], told["errno"], told["what"], attempt)

    def close(self) -> None:
        """End the fork server. What it started is not its own and runs on."""
        if self._control is None:
            return
        self._control.close()
        self._control = None
        # It may be dead, and reaped by the reaper; a pidfd can not mean anybody else.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)

    def _ask(self, request: bytes, fds: list[int]) -> bytes:
        """The whole answer; empty when the server died before it made a child."""
        report, report_in = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                control = self._connected()
                length = forkserver.LENGTH.pack(len(request))
                socket.send_fds(control, [length], [report_in, *fds])
                control.sendall(request)
            except BrokenPipeError:
                self.close()
                return b""
            finally:
                os.close(report_in)
            answer = self._read(report)
        finally:
            os.close(report)
        if not answer:
            self.close()
        return answer

    def _read(self, report: int) -> bytes:
        """Read to the end, which exec brings about, or the death of whoever is to write.

        Raises:
            TimeoutError: neither within `limits.LAUNCH_TIMEOUT_S`; what was made is killed.
        """
        answer = b""
        while True:
            ready, _, _ = select.select([report], [], [], limits.LAUNCH_TIMEOUT_S)
            if not ready:
                # A child may hang in a file system that is gone, or somebody has stopped the server.
                if answer:
                    os.kill(forkserver.PID.unpack_from(answer)[0], signal.SIGKILL)
                    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
                self.close()  # now the pipe has an end, or a child writes its pid to it
                continue
            part = os.read(report, limits.LAUNCH_REPORT_MAX)
            if not part:
                return answer
            answer += part

    def _connected(self) -> socket.socket:
        if self._control is None:
            ours, its = socket.socketpair()
            try:
                popen = subprocess.Popen(
                    [sys.executable, "-I", "-S", forkserver.__file__],
                    stdin=its.fileno(),
                    start_new_session=True,  # a Ctrl-C at the terminal is not meant for it
                )
            except OSError:
                ours.close()
                raise
            finally:
                its.close()
            popen.returncode = 0  # as in `runtime.spawner`: nobody else may wait for it
            ours.settimeout(limits.LAUNCH_TIMEOUT_S)
            self._control = ours
            self._pidfd = os.pidfd_open(popen.pid)
        return self._control


def _encode(attempt: Attempt, pass_fds: tuple[int, ...], *, in_cgroup: bool) -> bytes:
    launch, environment, identity = attempt
    program = launch.command[0]
    searched = [""] if "/" in program else os.get_exec_path(environment)
    request = {
        "command": [_text(word) for word in launch.command],
        "environment": {_text(name): _text(value) for name, value in environment.items()},
        "files": [_text(os.path.join(folder, program)) for folder in searched],
        "directory": None if launch.directory is None else _text(launch.directory),
        "umask": launch.umask,
        "pass_fds": pass_fds,
        "user": identity.user,
        "group": identity.group,
        "groups": identity.groups,
        "limits": launch.limits,
        "nice": launch.nice,
        "oom_score_adj": launch.oom_score_adj,
        "no_new_privileges": launch.no_new_privileges,
        "in_cgroup": in_cgroup,
    }
    return json.dumps(request).encode()


def _text(text: str) -> str:
    """JSON has no bytes; each travels as the character of the same number."""
    return os.fsencode(text).decode("latin-1")
