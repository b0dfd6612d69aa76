"""Ways out of a worker, each of them closed: nothing that it ever forked is left when it is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from supervisord_ng.model.exits import ExitStatus
from supervisord_ng.runtime.cgroups import Cgroup, Cgroups
from tests.runtime.isolated import Isolated, make_cgroups, play_isolated
from tests.runtime.world import KILLED, until
from tests.support import eventually, is_alive

pytestmark = pytest.mark.process

# Each is told where to write the pid of who tries to escape. `note` writes it whole or not at all.
HEAD = """
import os, signal, sys, time
def note():
    with open(sys.argv[1] + ".new", "w") as file: file.write(str(os.getpid()))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
def stay():
    note()
    while True: signal.pause()
def noted():
    while not os.path.exists(sys.argv[1]): time.sleep(0.001)
"""
CHILD = (
    HEAD
    + """
if os.fork() == 0: stay()
noted()
"""
)
DAEMON = (
    HEAD
    + """
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    stay()
os.wait()
noted()
"""
)
JOB = (
    HEAD
    + """
if os.fork() == 0:
    os.setpgid(0, 0)
    stay()
noted()
"""
)
SESSION = (
    HEAD
    + """
if os.fork() == 0:
    os.setsid()
    stay()
noted()
"""
)
GRANDCHILD_OF_A_DAEMON = (
    HEAD
    + """
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    if os.fork() == 0:
        os.setsid()
        stay()
    while True: signal.pause()
os.wait()
noted()
"""
)
# It forgets whose it was, down to the environment: only a cgroup keeps it.
NAMELESS = (
    HEAD
    + """
if len(sys.argv) > 2: stay()
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    with open("/proc/self/cmdline", "rb") as file: command = file.read().split(b"\\0")[:-1]
    os.execve(sys.executable, [*command, b"again"], {})
os.wait()
noted()
"""
)
WAYS = {
    "child": CHILD,
    "daemon": DAEMON,
    "job": JOB,
    "session": SESSION,
    "grandchild of a daemon": GRANDCHILD_OF_A_DAEMON,
}
STAY = "while True: signal.pause()\n"
LEAVE = "os._exit(3)\n"

Make = Callable[[], Cgroups | None]


@pytest.fixture(params=["cgroup", "session"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Both ways to know what a worker is."""
    return lambda: make_cgroups(tmp_path) if request.param == "cgroup" else None


async def escaped(note: Path) -> int:
    """The pid of who tries."""
    return int(await until(lambda: note.exists() and note.read_text(), "the note"))


@pytest.mark.parametrize("way", WAYS)
def test_who_escapes_is_killed_with_the_worker(way: str, make: Make, tmp_path: Path) -> None:
    """SIGKILL to the whole worker while its main process runs."""
    note = tmp_path / "pid"

    async def scene(world: Isolated) -> None:
        pid = world.script(WAYS[way] + STAY, str(note))
        fugitive = await escaped(note)
        assert world.reaper.signal_group(pid, signal.SIGKILL)
        await world.gone(pid)
        assert world.exits == {pid: KILLED}
        assert not is_alive(fugitive)

    play_isolated(scene, make())


@pytest.mark.parametrize("way", WAYS)
def test_who_escapes_keeps_the_worker_from_being_gone(way: str, make: Make, tmp_path: Path) -> None:
    """Its main process ends by itself; the rest is found, asked, and told of when it is gone."""
    note = tmp_path / "pid"

    async def scene(world: Isolated) -> None:
        pid = world.script(WAYS[way] + LEAVE, str(note))
        fugitive = await escaped(note)
        await until(lambda: world.exits, "the main process's end")
        assert world.exits == {pid: ExitStatus(code=3)}
        assert world.was_empty == {pid: False}
        assert is_alive(fugitive)
        assert world.reaper.signal_group(pid, signal.SIGTERM)
        await until(lambda: world.emptied == [pid], "the worker's end")
        assert not is_alive(fugitive)
        assert world.reaper._recheck_timer is None

    play_isolated(scene, make())


def test_who_forgets_its_environment_is_held_by_the_cgroup(tmp_path: Path) -> None:
    """The one way out of a worker without cgroup is none out of a cgroup, for who was born in it."""
    note = tmp_path / "pid"

    async def scene(world: Isolated) -> None:
        pid = world.script(NAMELESS + STAY, str(note), no_new_privileges=True)
        fugitive = await escaped(note)
        world.reaper.signal_group(pid, signal.SIGKILL)
        await world.gone(pid)
        assert not is_alive(fugitive)

    play_isolated(scene, make_cgroups(tmp_path))


def test_the_worker_of_the_same_name_is_no_stranger_to_the_cgroup(tmp_path: Path) -> None:
    """The group is the worker's, for all of its lives; each begins in an empty one."""

    async def scene(world: Isolated) -> None:
        for _ in range(3):
            pid = world.script("import time; time.sleep(60)")
            await until(partial(is_in_group, pid), "it is in its group")
            world.reaper.signal_group(pid, signal.SIGKILL)
            await world.gone(pid)

    play_isolated(scene, make_cgroups(tmp_path))


def is_in_group(pid: int) -> bool:
    """Say whether a process is in the cgroup of the worker `w`."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return any(line.startswith("0::") and line.endswith("/w.worker") for line in lines)


def test_who_was_forked_before_the_move_is_moved_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Popen's worker runs already when it is moved. Injected: the move waits for the fork."""
    note = tmp_path / "pid"
    move = Cgroup.add

    def late(self: Cgroup, pid: int) -> None:
        eventually(note.exists, "the note")
        move(self, pid)

    monkeypatch.setattr(Cgroup, "add", late)

    async def scene(world: Isolated) -> None:
        pid = world.script(DAEMON + STAY, str(note))
        fugitive = await escaped(note)
        await until(partial(is_in_group, fugitive), "it is moved")
        world.reaper.signal_group(pid, signal.SIGKILL)
        await world.gone(pid)
        assert not is_alive(fugitive)

    play_isolated(scene, make_cgroups(tmp_path))


def test_who_dies_before_the_move_is_reaped_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number stays its own until nobody uses it any more. Injected: the move waits for the death."""
    pids: list[int] = []
    move = Cgroup.add

    def late(self: Cgroup, pid: int) -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        pids.append(pid)
        move(self, pid)

    monkeypatch.setattr(Cgroup, "add", late)

    async def scene(world: Isolated) -> None:
        for code in (1, 2, 3):
            pid = world.script(f"raise SystemExit({code})")
            await world.gone(pid)
            assert world.exits[pid] == ExitStatus(code=code)
        assert world.started == pids
        assert world.problems == []

    play_isolated(scene, make_cgroups(tmp_path))


def test_a_move_that_fails_leaves_the_worker_to_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said once, and the worker runs. Injected: the kernel has no reason to refuse here."""

    def refuse(self: Cgroup, pid: int) -> None:
        raise OSError(16, "Device or resource busy", f"{self.path} {pid}")

    monkeypatch.setattr(Cgroup, "add", refuse)
    note = tmp_path / "pid"

    async def scene(world: Isolated) -> None:
        pid = world.script(DAEMON + STAY, str(note))
        fugitive = await escaped(note)
        await until(lambda: world.problems, "the problem")
        world.reaper.signal_group(pid, signal.SIGKILL)
        await world.gone(pid)
        assert not is_alive(fugitive)
        (problem,) = world.problems
        assert problem.startswith(f"cannot move process {pid} to ")

    play_isolated(scene, make_cgroups(tmp_path))


def test_many_at_once(make: Make) -> None:
    """Fifty workers, killed together; nothing is left, not even a descriptor."""

    async def scene(world: Isolated) -> None:
        world.launch_idle("warm-up")
        await until(lambda: world.exits, "the first one's end")
        before = len(os.listdir("/proc/self/fd"))
        pids = [world.launch_idle(f"w{number}", "60") for number in range(50)]
        for pid in pids:
            assert world.reaper.signal_group(pid, signal.SIGKILL)
        for pid in pids:
            await world.gone(pid)
        assert {world.exits[pid] for pid in pids} == {KILLED}
        await until(lambda: len(os.listdir("/proc/self/fd")) == before, "no descriptor is left")
        assert psutil.Process().children() == []

    play_isolated(scene, make())
