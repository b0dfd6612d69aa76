"""For ``on_daemon_crash = "kill"``: a process that outlives the daemon by a moment and ends all workers, whole.

It waits for the end of a pipe whose other end only the daemon has, so it notices that end whatever it was.
PR_SET_PDEATHSIG (prctl(2)) would do for main processes, but not for what they have started, and it is cleared
where a program changes its user. An orderly end and `sng upgrade` end the guard first. One that is killed is
missed at once, and replaced.

Run as ``python -m supervisord_ng.runtime.guard ENDPOINT [CGROUP]``, with the pipe as standard input.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

from supervisord_ng.runtime import leftovers
from supervisord_ng.runtime.cgroups import Cgroup


class Guard:
    """The daemon's side.

    Args:
        loop: of the daemon.
        endpoint: by which workers are known, see `leftovers`.
        cgroup: that holds all of them, None where there is none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, endpoint: str, cgroup: str | None) -> None:
        self._loop = loop
        self._command = [sys.executable, "-P", "-m", "supervisord_ng.runtime.guard", endpoint]
        if cgroup is not None:
            self._command.append(cgroup)
        self._start()

    def _start(self) -> None:
        read, self._write = os.pipe2(os.O_CLOEXEC)
        try:
            process = subprocess.Popen(
                self._command,
                stdin=read,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(read)
        self._pid = process.pid
        process.returncode = 0  # the reaper waits for it, as for every child
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._died)

    def _died(self) -> None:
        """Somebody has killed it."""
        self._release()
        self._start()

    def close(self) -> None:
        """An orderly end: nothing is left to be guarded."""
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._release()

    def _release(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        os.close(self._write)


def main(endpoint: str, cgroup: str | None = None) -> None:
    """Wait for the end of the daemon, then end what it has left."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the daemon; it decides when we end
    while os.read(0, 1):
        pass
    leftovers.end_leftovers(endpoint)
    if cgroup is not None:  # we may be in it ourselves
        Cgroup(cgroup).kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
