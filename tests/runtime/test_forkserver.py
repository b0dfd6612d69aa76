"""What only the fork server can do: seen from inside of the worker, and refused with step and errno."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisord_ng import limits
from supervisord_ng.model.spec import LaunchSpec
from tests.needs import require_ordinary_user, require_root
from tests.runtime.processes import NOBODY, failure, finish, kill, output_of, start, way
from tests.support import eventually, is_alive

pytestmark = pytest.mark.process

CAP_SYS_RESOURCE = 24  # linux/capability.h

LIMIT_NAMES = {  # as proc_pid_limits(5) calls them, with a value for each
    "nofile": ("Max open files", 100),
    "nproc": ("Max processes", 1000),
    "core": ("Max core file size", 0),
    "as": ("Max address space", 1 << 40),
    "cpu": ("Max cpu time", 3600),
    "fsize": ("Max file size", 1 << 20),
    "memlock": ("Max locked memory", 4096),
    "stack": ("Max stack size", 1 << 20),
}


@pytest.fixture(autouse=True)
def _by_fork_server() -> Iterator[None]:
    with way("fork server"):
        yield


def the_server() -> int:
    """The pid of the fork server."""
    (server,) = psutil.Process().children()
    return server.pid


def cat(path: str, **keys: object) -> str:
    """What a worker with these keys reads there."""
    return output_of(LaunchSpec(("/bin/cat", path), **keys))  # type: ignore[arg-type]


# --- how a worker finds itself -----------------------------------------------------------------


def test_limits_are_soft_and_hard() -> None:
    """All of them, in the process itself."""
    wanted = {name: value for name, (_, value) in LIMIT_NAMES.items()}
    lines = cat("/proc/self/limits", limits=wanted).splitlines()
    found = {line[:25].strip(): line[26:].split()[:2] for line in lines}
    assert {name: [str(value)] * 2 for name, value in LIMIT_NAMES.values()} == {
        name: found[name] for name, _ in LIMIT_NAMES.values()
    }


def test_infinity_is_no_limit() -> None:
    """Where the daemon has none itself."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("this host cannot: core dumps are limited")
    lines = cat("/proc/self/limits", limits={"core": -1}).splitlines()
    (core,) = [line for line in lines if line.startswith("Max core file size")]
    assert core[26:].split()[:2] == ["unlimited", "unlimited"]


def test_nice_is_the_workers() -> None:
    """And not the daemon's or the server's."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    assert output_of(LaunchSpec(("/usr/bin/nice",), nice=nice + 3)) == f"{nice + 3}\n"
    assert output_of(LaunchSpec(("/usr/bin/nice",))) == f"{nice}\n"


def test_oom_score_adj_is_the_workers() -> None:
    """More of it needs no privilege, proc_pid_oom_score_adj(5)."""
    assert cat("/proc/self/oom_score_adj", oom_score_adj=500) == "500\n"


def test_no_new_privileges_is_set() -> None:
    """prctl(2), PR_SET_NO_NEW_PRIVS; only where it is wanted."""
    for wanted in (True, False):
        status = cat("/proc/self/status", no_new_privileges=wanted)
        assert f"NoNewPrivs:\t{int(wanted)}\n" in status


def test_the_daemon_is_its_parent_from_the_first_moment() -> None:
    """A worker that wants to die with its parent must not see the server as such."""
    code = "import os; print(os.getppid(), os.getsid(0) == os.getpgrp() == os.getpid())"
    assert output_of(LaunchSpec(("/usr/bin/python3", "-c", code))) == f"{os.getpid()} True\n"


@pytest.mark.root
def test_privileges_are_used_before_they_are_given_away() -> None:
    """A worker of an ordinary user may have what only root can give."""
    require_root()
    user, group = NOBODY.pw_uid, NOBODY.pw_gid
    nice = os.getpriority(os.PRIO_PROCESS, 0) - 3
    code = "import os; print(os.getresuid(), os.getpriority(os.PRIO_PROCESS, 0))"
    command = ("/usr/bin/python3", "-c", code)
    assert output_of(LaunchSpec(command, user=user, group=group, nice=nice)) == (
        f"{(user,) * 3} {nice}\n"
    )


@pytest.mark.root
def test_limits_are_raised_before_privileges_are_given_away() -> None:
    """Likewise, and the daemon's own stay what they were."""
    require_root()
    effective = next(line for line in cat("/proc/self/status").splitlines() if "CapEff" in line)
    if not int(effective.split()[1], 16) & 1 << CAP_SYS_RESOURCE:
        pytest.skip("this host cannot: its root has no CAP_SYS_RESOURCE")
    own = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    launch = LaunchSpec(
        ("/bin/cat", "/proc/self/limits", "/proc/self/oom_score_adj"),
        user=NOBODY.pw_uid,
        group=NOBODY.pw_gid,
        limits={"memlock": 1 << 40},
        oom_score_adj=-100,
    )
    text = output_of(launch)
    assert str(1 << 40) in text
    assert text.endswith("\n-100\n")
    assert resource.getrlimit(resource.RLIMIT_MEMLOCK) == own


# --- refused, and by whom ----------------------------------------------------------------------


def test_more_open_files_than_the_kernel_allows_anybody() -> None:
    """EPERM says the kernel to root as well, above fs.nr_open."""
    beyond = int(Path("/proc/sys/fs/nr_open").read_text()) + 1
    why, message = failure(LaunchSpec(("/bin/true",), limits={"nofile": beyond}))
    assert why == "EPERM"
    assert message.startswith(
        f"cannot limit nofile to {beyond}: operation not permitted (limits.nof"
    )


def test_a_limit_above_the_daemons_own() -> None:
    """The hint names the bound."""
    require_ordinary_user()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    message = (
        f"cannot limit nofile to {hard + 1}: operation not permitted "
        f"(limits.nofile; the daemon's own hard limit is {hard})"
    )
    launch = LaunchSpec(("/bin/true",), limits={"nofile": hard + 1})
    assert failure(launch) == ("EPERM", message)


def test_priority_that_only_root_can_give() -> None:
    """setpriority(2), EACCES."""
    require_ordinary_user()
    message = "cannot set nice to -20: permission denied (the daemon does not run as root)"
    assert failure(LaunchSpec(("/bin/true",), nice=-20)) == ("EACCES", message)


def test_protection_that_only_root_can_give() -> None:
    """proc_pid_oom_score_adj(5): less than the lowest value that a privileged process has set."""
    require_ordinary_user()
    message = (
        "cannot set oom_score_adj to -500: permission denied (the daemon does not run as root)"
    )
    assert failure(LaunchSpec(("/bin/true",), oom_score_adj=-500)) == ("EACCES", message)


def test_the_program_is_refused_as_ever() -> None:
    """With all keys set, a failed exec is still told as such."""
    launch = LaunchSpec(("./x",), directory="/", limits={"core": 0}, no_new_privileges=True)
    assert failure(launch) == ("ENOENT", "cannot start: no such file: /./x (command)")


# --- the server itself -------------------------------------------------------------------------


def test_a_killed_server_is_replaced() -> None:
    """Nobody sees that it was gone; workers that it started run on."""
    process = start(LaunchSpec(("/bin/sleep", "60"), limits={"core": 0}))
    try:
        (server,) = [child for child in psutil.Process().children() if child.pid != process.pid]
        server.kill()
        server.wait()
        assert finish(start(LaunchSpec(("/bin/true",), limits={"core": 0}))) == 0
        assert is_alive(process.pid)
    finally:
        kill(process)


def test_a_server_that_does_not_answer_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has stopped it, or it waits for a disk that is gone."""
    monkeypatch.setattr(limits, "LAUNCH_TIMEOUT_S", 3.0)  # of the next server too
    server = the_server()
    os.kill(server, signal.SIGSTOP)
    assert finish(start(LaunchSpec(("/bin/true",), limits={"core": 0}))) == 0
    assert the_server() != server


def test_nothing_leaks_in_fifty_starts(tmp_path: Path) -> None:
    """No descriptor here, none there, no zombie."""
    server = the_server()

    def descriptors() -> list[int]:
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), server)]

    before = descriptors()
    for _ in range(25):
        assert finish(start(LaunchSpec(("/bin/true",), limits={"core": 0}))) == 0
        failure(LaunchSpec((f"{tmp_path}/absent",), limits={"core": 0}))
    assert descriptors() == before
    assert the_server() == server


def owner(code: str) -> subprocess.Popen[str]:
    """Another process that uses a launcher."""
    head = (
        "import os, signal, subprocess, sys\n"
        "from supervisord_ng.model.spec import LaunchSpec\n"
        "from supervisord_ng.runtime.launcher import Launcher\n"
        "from supervisord_ng.runtime.reaper import become_subreaper\n"
        "from supervisord_ng.runtime.spawner import spawn\n"
        "become_subreaper()\n"
        "def start(*command):\n"
        "    launch = LaunchSpec(command, limits={'core': 0})\n"
        "    return spawn(launch, environment={}, stdout=1, stderr=2, launcher=launcher)\n"
    )
    command = [sys.executable, "-c", head + code]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_the_server_ends_with_the_daemon() -> None:
    """However that ends."""
    code = (
        "launcher = Launcher()\n"
        "os.waitpid(start('/bin/true').pid, 0)\n"
        "(server,) = open(f'/proc/self/task/{os.getpid()}/children').read().split()\n"
        "print(server, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with owner(code) as daemon:
        assert daemon.stdout is not None
        server = int(daemon.stdout.readline())
        assert is_alive(server)
        daemon.kill()
    # We are the next subreaper above.
    eventually(lambda: os.waitpid(server, os.WNOHANG)[0] == server, "the server's end")


# The filter that containers put on clone3: ENOSYS, so that libc falls back. seccomp(2), bpf(2).
WITHOUT_CLONE3 = """
import ctypes, errno, struct
LD, JEQ, RET = 0x20, 0x15, 0x06
program = b"".join(struct.pack("HBBI", *one) for one in (
    (LD, 0, 0, 0), (JEQ, 0, 1, 435), (RET, 0, 0, 0x50000 | errno.ENOSYS), (RET, 0, 0, 0x7FFF0000)))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(4, program)), 0, 0) == 0, ctypes.get_errno()
"""


def test_where_clone3_is_forbidden_a_second_fork_does_it() -> None:
    """The worker is still the daemon's child before it runs, and a failure is still told."""
    code = WITHOUT_CLONE3 + (
        "launcher = Launcher()\n"
        "show = start('/usr/bin/python3', '-c', 'import os; print(os.getppid(), os.getsid(0))')\n"
        "assert os.waitpid(show.pid, 0)[1] == 0\n"
        "print(os.getpid(), show.pid)\n"
        "try:\n"
        "    start('/absent')\n"
        "except Exception as error:\n"
        "    print(error)\n"
        "launcher.close()\n"
        "try:\n"
        "    os.waitpid(-1, 0)\n"
        "except ChildProcessError:\n"
        "    print('nothing is left')\n"
    )
    with owner(code) as daemon:
        assert daemon.stdout is not None
        seen, told, refused, end = daemon.stdout.read().splitlines()
    assert seen == told
    assert refused == "cannot start: no such file: /absent (command)"
    assert end == "nothing is left"
