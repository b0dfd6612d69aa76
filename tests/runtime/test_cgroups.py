"""The daemon's part of the hierarchy: made, limited, emptied and removed, or said why not."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisord_ng.errors import SpawnError
from supervisord_ng.model.exits import ExitStatus
from supervisord_ng.model.spec import LaunchSpec, Resources
from supervisord_ng.runtime.cgroups import Cgroup, Cgroups
from supervisord_ng.runtime.procfs import Census
from supervisord_ng.runtime.whole import CgroupWhole
from tests.needs import require_root
from tests.runtime.isolated import Isolated, make_cgroups, play_isolated
from tests.runtime.world import until
from tests.support import eventually, is_alive

pytestmark = pytest.mark.process

SLEEP = LaunchSpec(("/bin/sleep", "60"))
MEMORY = Resources(memory_max=64 << 20)


@pytest.fixture
def cgroups(tmp_path: Path) -> Iterator[Cgroups]:
    """A part of the hierarchy; whatever is left in it is killed."""
    made = make_cgroups(tmp_path)
    yield made
    made.kill_leftovers()

    def is_removed() -> bool:
        made.close()
        return not os.path.exists(made.path)

    eventually(is_removed, "the group is removed")


def has(cgroups: Cgroups, controller: str) -> bool:
    """Whether this host gives us a controller."""
    own = Path(cgroups.path).parent / "cgroup.controllers"
    return controller in own.read_text().split()


def need(cgroups: Cgroups, controller: str) -> None:
    """Skip where this host gives us none."""
    if not has(cgroups, controller):
        cgroups.close()
        pytest.skip(f"this host cannot: no {controller} controller")


# --- memory ------------------------------------------------------------------------------------


HUNGRY = "b'x' * (256 << 20)"


def test_the_kernel_s_kills_are_counted_where_it_counts_them(tmp_path: Path) -> None:
    """By the field oom_kill of memory.events; nothing to read is no kill."""
    assert 0 == Cgroup(str(tmp_path)).oom_kills()
    (tmp_path / "memory.events").write_text("low 0\nhigh 7\nmax 12\noom 3\noom_kill 2\n")
    assert 2 == Cgroup(str(tmp_path)).oom_kills()


def test_who_runs_out_of_memory_is_told_from_who_is_killed(tmp_path: Path) -> None:
    """More than its memory_max: SIGKILL by the kernel, which the reaper tells from a stranger's."""
    cgroups = make_cgroups(tmp_path)
    need(cgroups, "memory")
    if len(Path("/proc/swaps").read_text().splitlines()) > 1:
        cgroups.close()
        pytest.skip("this host cannot: it swaps instead")

    async def scene(world: Isolated) -> None:
        pid = world.script(HUNGRY, resources=Resources(memory_max=32 << 20))
        await until(lambda: pid in world.exits, "its end")
        assert world.exits[pid] == ExitStatus(signal=signal.SIGKILL, out_of_memory=True)

    play_isolated(scene, cgroups)


# --- limits ------------------------------------------------------------------------------------


def test_limits_are_those_of_the_group(tmp_path: Path) -> None:
    """Written before the worker is born in it."""
    cgroups = make_cgroups(tmp_path)
    for controller in ("cpu", "memory", "pids"):
        need(cgroups, controller)
    resources = Resources(memory_max=64 << 20, memory_high=32 << 20, cpu_max=0.5, pids_max=20)

    async def scene(world: Isolated) -> None:
        world.launch(LaunchSpec(SLEEP.command, resources=resources))
        group = Path(cgroups.path) / "w.worker"
        files = ("memory.max", "memory.high", "cpu.max", "pids.max")
        said = {file: (group / file).read_text().strip() for file in files}
        assert said == {
            "memory.max": str(64 << 20),
            "memory.high": str(32 << 20),
            "cpu.max": "50000 100000",
            "pids.max": "20",
        }

    play_isolated(scene, cgroups)


def test_a_controller_that_is_missing_is_named(cgroups: Cgroups) -> None:
    """The worker does not start, or, where that is optional, without its limits; somebody says so."""
    if has(cgroups, "memory"):
        pytest.skip("this host cannot: it has every controller")
    with pytest.raises(SpawnError) as caught:
        cgroups.enable(MEMORY)
    own = os.path.dirname(cgroups.path)
    assert caught.value.why == "no_controller:memory"
    assert caught.value.message == (
        f"cannot limit resources: no memory controller in cgroup {own} "
        "(resources; optional = true starts without)"
    )


def test_what_is_optional_is_left_out(tmp_path: Path) -> None:
    """The worker runs in its group all the same."""
    cgroups = make_cgroups(tmp_path)
    if has(cgroups, "memory"):
        cgroups.close()
        pytest.skip("this host cannot: it has every controller")

    async def scene(world: Isolated) -> None:
        with pytest.raises(SpawnError):
            world.launch(LaunchSpec(SLEEP.command, resources=MEMORY))
        optional = Resources(memory_max=64 << 20, optional=True)
        pid = world.launch(LaunchSpec(SLEEP.command, resources=optional))
        assert cgroups.of_worker("w").pids() == [pid]
        (problem,) = world.problems
        assert problem.startswith("starting w without resources: cannot limit resources: no memory")

    play_isolated(scene, cgroups)


def test_without_cgroups_no_limits(tmp_path: Path) -> None:
    """Neither are they forgotten silently."""

    async def scene(world: Isolated) -> None:
        with pytest.raises(SpawnError) as caught:
            world.launch(LaunchSpec(SLEEP.command, resources=MEMORY))
        assert caught.value.why == "no_cgroup"
        optional = Resources(memory_max=64 << 20, optional=True)
        assert is_alive(world.launch(LaunchSpec(SLEEP.command, resources=optional)))
        assert len(world.problems) == 1

    play_isolated(scene)


def test_a_worker_with_limits_is_born_in_its_group(tmp_path: Path) -> None:
    """Not moved there later: it is in it when `start` returns."""
    cgroups = make_cgroups(tmp_path)

    async def scene(world: Isolated) -> None:
        pid = world.launch(LaunchSpec(SLEEP.command, limits={"core": 0}))
        assert cgroups.of_worker("w").pids() == [pid]

    play_isolated(scene, cgroups)


# --- life and end of groups --------------------------------------------------------------------


def test_groups_that_a_worker_makes_are_its_own(tmp_path: Path) -> None:
    """A worker may be root, and divide its group; all of it counts, dies and is removed."""
    cgroups = make_cgroups(tmp_path)
    group = cgroups.of_worker("w")
    code = (
        "import os, sys, time\n"
        "os.makedirs(sys.argv[1] + '/inner/most')\n"
        "if os.fork() == 0:\n"
        "    open(sys.argv[1] + '/inner/most/cgroup.procs', 'w').write('0')\n"
        "    time.sleep(60)\n"
        "os._exit(0)\n"
    )

    async def scene(world: Isolated) -> None:
        pid = world.script(code, group.path, limits={"core": 0})
        await until(lambda: world.exits, "the main process's end")
        assert world.was_empty == {pid: False}
        assert len(group.pids()) == 1
        world.reaper.signal_group(pid, 9)
        await world.gone(pid)

    play_isolated(scene, cgroups)


def test_what_another_daemon_left_is_killed(cgroups: Cgroups) -> None:
    """The groups of a daemon that was killed are found by its runtime directory."""
    group = cgroups.of_worker("w")
    with subprocess.Popen(["/bin/sleep", "60"]) as left:
        group.add(left.pid)
        cgroups.kill_leftovers()
        assert left.wait(10) == -9


def test_a_kill_that_comes_upon_an_empty_group_silences_nothing(cgroups: Cgroups) -> None:
    """The kernel has told that it is empty, and nobody has looked yet: it still tells."""
    group = cgroups.of_worker("w")
    whole = CgroupWhole(group)
    census = Census(list)
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        group.add(process.pid)
        events = whole.open_events()
        assert events is not None
        assert not whole.is_gone(census)
        process.kill()
        process.wait(60)
    with select.epoll() as epoll:
        epoll.register(events, select.EPOLLPRI)
        assert [events] == [fd for fd, _ in epoll.poll(60)]
        assert not whole.signal(signal.SIGKILL, census)
        assert [events] == [fd for fd, _ in epoll.poll(0)]
    assert whole.is_gone(census)
    whole.close_events()


def test_a_forgotten_worker_has_no_group(tmp_path: Path) -> None:
    """When it leaves the tree."""
    cgroups = make_cgroups(tmp_path)

    async def scene(world: Isolated) -> None:
        pid = world.launch_idle("w", "0")
        await world.gone(pid)
        assert os.listdir(cgroups.path).count("w.worker") == 1
        world.isolation.forget("w")
        assert os.listdir(cgroups.path).count("w.worker") == 0

    play_isolated(scene, cgroups)


# --- controllers -------------------------------------------------------------------------------

# Whoever hands controllers on must not hold processes. Seen from a daemon in a group of its own; any controller
# that this host has at all will do.
DAEMON = """
import os, sys
from supervisord_ng.model.spec import Resources
from supervisord_ng.runtime import cgroups
home, controller = sys.argv[1:]
with open(home + "/cgroup.procs", "w") as procs: procs.write("0")
cgroups._CONTROLLER_OF = {"memory_max": controller}
ours = cgroups.Cgroups("/run/test")
try:
    ours.enable(Resources(memory_max=1))
    ours.enable(Resources(memory_max=1))
except Exception as error:
    print(error)
group = ours.of_worker("w")
with open("/proc/self/cgroup") as file: print([line[3:-1] for line in file if line[:3] == "0::"][0])
print(open(group.path + "/cgroup.controllers").read().strip())
again = cgroups.Cgroups("/run/test")
print(again.path == ours.path)
ours.close()
with open("/proc/self/cgroup") as file: print([line[3:-1] for line in file if line[:3] == "0::"][0])
print(open(home + "/cgroup.subtree_control").read().strip())
print(sorted(name for name in os.listdir(home) if os.path.isdir(home + "/" + name)))
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A group for a daemon, that has a controller; and which."""
    require_root()
    cgroups = make_cgroups(tmp_path)
    cgroups.close()
    top = Path(cgroups.path).parent
    available = (top / "cgroup.controllers").read_text().split()
    enabled = (top / "cgroup.subtree_control").read_text().split()
    if not available:
        pytest.skip("this host cannot: no controller at all")
    controller = min(available)
    home = top / f"test-{os.getpid()}"
    (top / "cgroup.subtree_control").write_text(f"+{controller}")
    home.mkdir()
    yield home, controller

    def is_removed() -> bool:
        home.rmdir()
        return True

    eventually(is_removed, "the group is removed")
    if controller not in enabled:
        (top / "cgroup.subtree_control").write_text(f"-{controller}")


def run_daemon(home: Path, controller: str) -> list[str]:
    """What the daemon above prints."""
    command = [sys.executable, "-c", DAEMON, str(home), controller]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.root
def test_the_daemon_makes_room_for_controllers(home: tuple[Path, str]) -> None:
    """It moves to a group of its own, finds its way from there, and takes all back at the end."""
    group, controller = home
    inside, handed_on, same, outside, left, directories = run_daemon(group, controller)
    assert inside.startswith(f"/{group.name}/supervisord-ng-")
    assert inside.endswith("/daemon")
    assert handed_on == controller
    assert (same, left, directories) == ("True", "", "[]")
    assert outside == f"/{group.name}"


@pytest.mark.root
def test_strangers_are_not_moved(home: tuple[Path, str]) -> None:
    """Where somebody else lives in the daemon's cgroup, limits are refused, and said why."""
    group, controller = home
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        (group / "cgroup.procs").write_text(str(stranger.pid))
        lines = run_daemon(group, controller)
        stranger.kill()
    assert lines[0] == (
        f"cannot enable controller {controller} in cgroup {group}: device or resource busy "
        "(others live there)"
    )
