"""After the daemon of a systemd unit has ended, however it did: ``ExecStopPost=`` of the unit runs this.

A daemon that crashed leaves its workers to the next one. If there is no next one because the unit is being
stopped, they are ended here, as the daemon would have done. It holds the lock of the runtime directory, so
that it can harm no daemon.
"""

from __future__ import annotations

import os
import subprocess

from supervisord_ng import limits
from supervisord_ng.errors import EXIT_FAILED, EXIT_OK, SupervisordNGError
from supervisord_ng.model import paths
from supervisord_ng.runtime import keeper, leftovers, rundir
from supervisord_ng.runtime.cgroups import Cgroups, UnavailableError


def after_stop(unit: str, runtime_dir: str) -> int:
    """End what is left, if `unit` is being stopped; otherwise make room for the next daemon.

    Returns:
        The exit status: 1 when something could not be ended, when a daemon runs, or systemd does not answer.
    """
    try:
        if not os.path.isdir(runtime_dir):
            return EXIT_OK  # no daemon ever ran here
        with rundir.Lock((runtime_dir,)):
            return _clean(runtime_dir, stopping=_is_being_stopped(unit))
    except (SupervisordNGError, OSError, subprocess.SubprocessError) as error:
        _say(f"cannot clean up after {unit}: {error}")
        return EXIT_FAILED


def _is_being_stopped(unit: str) -> bool:
    """Whether systemd is about to stop the unit, or to restart it, which begins with a stop.

    A start, the first one or one after a crash, is about to be tried again.
    """
    # Set for what a user's own systemd starts, systemd.exec(5).
    systemctl = ["systemctl", *(["--user"] if "MANAGERPID" in os.environ else [])]
    answer = subprocess.run(
        [*systemctl, "list-jobs", "--plain", "--no-legend", unit],
        check=True,
        capture_output=True,
        text=True,
        timeout=limits.SYSTEMCTL_TIMEOUT_S,
    )
    jobs = [line.split() for line in answer.stdout.splitlines()]  # number, unit, type, state
    return any(job[1:2] == [unit] and job[2] in ("stop", "restart") for job in jobs)


def _clean(runtime_dir: str, *, stopping: bool) -> int:
    try:
        cgroups = Cgroups(runtime_dir)
    except UnavailableError:
        cgroups = None
    if not stopping:
        if cgroups is not None:
            cgroups.make_room()
        return EXIT_OK
    if cgroups is not None:
        cgroups.kill_leftovers()
    socket = os.path.join(runtime_dir, paths.HEARTBEAT_SOCKET)
    ended, survivors = leftovers.end_leftovers(f"ipc://{socket}")
    output = os.path.join(runtime_dir, paths.OUTPUT_DIRECTORY)
    survivors += keeper.end(output, keeper.everyone(output))
    if cgroups is not None:
        cgroups.close()
    if ended:
        _say(f"ended what the daemon left running: {_list(ended)}")
    if survivors:
        _say(f"cannot end what the daemon left running: {_list(survivors)}")
    return EXIT_FAILED if survivors else EXIT_OK


def _list(pids: list[int]) -> str:
    return "pid " + ", ".join(map(str, pids))


def _say(text: str) -> None:
    os.write(2, f"supervisord-ng: {text}\n".encode())
