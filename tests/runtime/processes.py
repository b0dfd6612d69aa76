"""Processes started for a test: one line to start, one to finish, and a script to be started."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisord_ng.errors import SpawnError
from supervisord_ng.model.spec import LaunchSpec
from supervisord_ng.runtime.launcher import Launcher
from supervisord_ng.runtime.reaper import become_subreaper
from supervisord_ng.runtime.spawner import Process, spawn


class Way:
    """How the tests start processes; see `either_way`."""

    launcher: Launcher | None = None


@contextlib.contextmanager
def way(name: str) -> Iterator[None]:
    """Let everything in here start its processes by "popen" or by the "fork server"."""
    if name == "popen":
        yield
        return
    assert become_subreaper()  # what the fork server needs where it may not clone
    Way.launcher = Launcher()
    try:
        finish(start(LaunchSpec(("/bin/true",))))
        yield
    finally:
        Way.launcher.close()
        Way.launcher = None
        assert become_subreaper(enable=False)


NOBODY = pwd.getpwnam("nobody")  # an ordinary user that every host has


def start(launch: LaunchSpec, stdout: int = subprocess.DEVNULL) -> Process:
    """Start with nothing added."""
    null = subprocess.DEVNULL
    return spawn(launch, environment={}, stdout=stdout, stderr=null, launcher=Way.launcher)


def finish(process: Process) -> int:
    """Wait for the end, release everything, return wait(2)'s status."""
    os.close(process.pidfd)
    return os.waitpid(process.pid, 0)[1]


def kill(process: Process) -> None:
    """End a process that would not end by itself."""
    signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
    finish(process)


def output_of(launch: LaunchSpec, pass_fds: tuple[int, ...] = ()) -> str:
    """Run to the end and return what was written to standard output."""
    read, write = os.pipe()
    try:
        process = spawn(
            launch,
            environment={},
            stdout=write,
            stderr=subprocess.DEVNULL,
            pass_fds=pass_fds,
            launcher=Way.launcher,
        )
    finally:
        os.close(write)
    with open(read, encoding="utf-8") as pipe:
        text = pipe.read()
    assert finish(process) == 0
    return text


def failure(launch: LaunchSpec, **extra: str) -> tuple[str, str]:
    """Start something that can not be started; return why and the message. No zombie is left."""
    null = subprocess.DEVNULL
    before = psutil.Process().children()
    with pytest.raises(SpawnError) as caught:
        spawn(launch, environment=extra, stdout=null, stderr=null, launcher=Way.launcher)
    assert psutil.Process().children() == before
    return caught.value.why, caught.value.message


def write_script(directory: Path, text: str, mode: int = 0o755, name: str = "program") -> str:
    """Write a file that may be executed, or whatever `mode` says; return its path."""
    path = directory / name
    path.write_text(text)
    path.chmod(mode)
    return str(path)
