"""Real processes are started, and asked how they find themselves; failed starts say why."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisord_ng.model.spec import LaunchSpec
from supervisord_ng.runtime.spawner import forget_inherited_signals, spawn
from tests.needs import require_root
from tests.runtime.processes import (
    NOBODY,
    Way,
    failure,
    finish,
    kill,
    output_of,
    start,
    way,
    write_script,
)
from tests.support import eventually

pytestmark = pytest.mark.process

PATH = "/usr/bin:/bin"


@pytest.fixture(autouse=True, params=["popen", "fork server"])
def _either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every promise holds whoever starts the process."""
    with way(request.param):
        yield


@pytest.fixture
def inherited() -> Iterator[int]:
    """A descriptor that somebody made inheritable by mistake."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    yield write
    os.close(read)
    os.close(write)


@pytest.fixture
def clean_signals() -> Iterator[None]:
    """What the daemon does at its start; pytest itself may have been started with ``&``."""
    ignored = {
        signum for signum in signal.valid_signals() if signal.getsignal(signum) is signal.SIG_IGN
    }
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    forget_inherited_signals()
    yield
    for signum in ignored:
        signal.signal(signum, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


# --- how a worker finds itself -----------------------------------------------------------------

# Signals 32 and 33 belong to glibc (nptl(7)). Its posix_spawn leaves them ignored in the child, make
# uses that, and nobody can set them back.
OF_LIBC = 0b11 << 31


def test_a_worker_leads_its_own_session_and_group() -> None:
    """So that a signal to its group reaches all of it and nobody else."""
    process = start(LaunchSpec(("/bin/sleep", "60")))
    try:
        assert process.pid == os.getsid(process.pid) == os.getpgid(process.pid)
    finally:
        kill(process)


def test_the_pidfd_is_that_of_the_worker() -> None:
    """A signal through it ends the worker and is what wait says."""
    process = start(LaunchSpec(("/bin/sleep", "60")))
    signal.pidfd_send_signal(process.pidfd, signal.SIGTERM)
    assert os.WTERMSIG(finish(process)) == signal.SIGTERM


def test_a_worker_has_only_the_descriptors_meant_for_it(inherited: int) -> None:
    """0, 1, 2 and what is passed, under its own number; nothing that was inheritable by mistake."""
    code = (
        "import os\n"
        "def is_open(fd):\n"
        "    try:\n"
        "        return bool(os.fstat(fd))\n"
        "    except OSError:\n"
        "        return False\n"
        "print([fd for fd in range(1024) if is_open(fd)])"
    )
    listing = LaunchSpec((sys.executable, "-c", code))
    assert output_of(listing) == "[0, 1, 2]\n"
    assert output_of(listing, pass_fds=(inherited,)) == f"[0, 1, 2, {inherited}]\n"


def test_a_worker_reads_nothing() -> None:
    """Standard input is /dev/null, never the daemon's terminal."""
    assert output_of(LaunchSpec(("/bin/readlink", "/proc/self/fd/0"))) == "/dev/null\n"


def test_the_environment_is_exactly_what_is_given() -> None:
    """Nothing of the daemon's own; what the runtime adds wins."""
    launch = LaunchSpec(("/usr/bin/env",), environment={"MODE": "prod", "SNG_NAME": "forged"})
    read, write = os.pipe()
    process = spawn(
        launch,
        environment={"SNG_NAME": "api@1"},
        stdout=write,
        stderr=subprocess.DEVNULL,
        launcher=Way.launcher,
    )
    os.close(write)
    with open(read, encoding="utf-8") as pipe:
        assert sorted(pipe.read().splitlines()) == ["MODE=prod", "SNG_NAME=api@1"]
    finish(process)


def test_directory_and_umask_are_the_workers(tmp_path: Path) -> None:
    """And the daemon's own stay what they were."""
    launch = LaunchSpec(("/bin/sh", "-c", "pwd; umask"), directory=str(tmp_path), umask=0o027)
    before = os.getcwd()
    assert output_of(launch) == f"{tmp_path}\n0027\n"
    assert os.getcwd() == before


def test_every_signal_is_at_its_default(clean_signals: None) -> None:
    """Though the daemon handles some in its loop, and Python ignores SIGPIPE."""

    async def under_a_loop_with_handlers() -> str:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGQUIT):
            loop.add_signal_handler(signum, lambda: None)
        return output_of(LaunchSpec(("/bin/cat", "/proc/self/status")))

    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    status = dict(
        line.split(":\t") for line in asyncio.run(under_a_loop_with_handlers()).splitlines()
    )
    signals = {name: int(status[name], 16) & ~OF_LIBC for name in ("SigBlk", "SigIgn", "SigCgt")}
    assert signals == {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0}


def test_what_the_daemon_inherited_does_not_reach_workers(clean_signals: None) -> None:
    """Started with ``nohup`` or ``&``, or with signals blocked, it still starts clean ones."""
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    forget_inherited_signals()
    text = output_of(LaunchSpec(("/bin/cat", "/proc/self/status")))
    status = dict(line.split(":\t") for line in text.splitlines())
    assert (int(status["SigBlk"], 16), int(status["SigIgn"], 16) & ~OF_LIBC) == (0, 0)
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN


def test_a_program_is_found_in_the_workers_path(tmp_path: Path) -> None:
    """Not in the daemon's."""
    path = write_script(tmp_path, "#!/bin/sh\necho found\n", name="only-here")
    launch = LaunchSpec(("only-here",), environment={"PATH": os.path.dirname(path)})
    assert output_of(launch) == "found\n"


def test_a_relative_program_starts_from_the_workers_directory(tmp_path: Path) -> None:
    """``./run`` means beside the worker's data, wherever the daemon was started."""
    path = write_script(tmp_path, "#!/bin/sh\necho found\n")
    launch = LaunchSpec(("./program",), directory=os.path.dirname(path))
    assert output_of(launch) == "found\n"


IDENTITY = "import os; print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))"


@pytest.mark.root
def test_user_group_and_groups_are_the_workers() -> None:
    """All three of each kind of id, so that nothing can be taken back."""
    require_root()
    launch = LaunchSpec(
        ("/usr/bin/python3", "-c", IDENTITY), user=NOBODY.pw_uid, group=NOBODY.pw_gid, groups=(7, 9)
    )
    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    assert output_of(launch) == f"{(uid,) * 3} {(gid,) * 3} [7, 9]\n"


@pytest.mark.root
def test_roots_groups_do_not_go_with_another_user() -> None:
    """Also where the specification is silent about groups."""
    require_root()
    launch = LaunchSpec(
        ("/usr/bin/python3", "-c", "import os; print(os.getgroups())"),
        user=NOBODY.pw_uid,
        group=NOBODY.pw_gid,
    )
    before = os.getgroups()
    os.setgroups([0, 5])
    try:
        assert output_of(launch) == "[]\n"
    finally:
        os.setgroups(before)


def test_naming_the_user_that_we_are_needs_no_privilege() -> None:
    """A tree written for a system service runs under its own user by hand as well."""
    launch = LaunchSpec(
        ("/bin/true",), user=os.getuid(), group=os.getgid(), groups=tuple(os.getgroups())
    )
    assert finish(start(launch)) == 0


# --- nobody else waits for the child -----------------------------------------------------------


def test_popen_forgets_the_child() -> None:
    """No ResourceWarning, and no waitpid of a later Popen takes the exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        process = start(LaunchSpec(("/bin/sh", "-c", "exit 7")))
        gc.collect()
    eventually(
        lambda: os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG),
        "the child is dead",
    )
    subprocess.run(["/bin/true"], check=True)
    assert os.WEXITSTATUS(finish(process)) == 7


def test_starts_and_failed_starts_leave_no_descriptors(tmp_path: Path) -> None:
    """A crash loop of a year must not run out of them."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        finish(start(LaunchSpec(("/bin/true",))))
        failure(LaunchSpec((f"{tmp_path}/absent",)))
        failure(LaunchSpec(("/bin/true",), directory=f"{tmp_path}/absent"))
    assert len(os.listdir("/proc/self/fd")) == before
