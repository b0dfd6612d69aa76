"""A worker is gone when all of it is gone; what comes to us besides is reaped and forgotten."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from supervisord_ng import limits
from supervisord_ng.model.exits import ExitStatus
from supervisord_ng.runtime.procfs import Census
from supervisord_ng.runtime.whole import SessionWhole
from tests.runtime.world import KILLED, World, play, until
from tests.support import is_alive

pytestmark = pytest.mark.process


def test_a_worker_lingers_until_its_last_process_is_gone() -> None:
    """The main process ends, a child of it runs on: both ends are told."""

    async def scene(world: World) -> None:
        pid = world.start("/bin/sh", "-c", "sleep 60 & exit 3")
        await until(lambda: world.exits, "the main process's end")
        assert world.exits == {pid: ExitStatus(code=3)}
        assert world.was_empty == {pid: False}
        assert not world.reaper.signal(pid, signal.SIGTERM), "the main process is gone"
        assert world.reaper.signal_group(pid, signal.SIGTERM)
        await until(lambda: world.emptied, "the worker's end")
        assert world.emptied == [pid]
        assert world.reaper.group_is_empty(pid)

    play(scene)


def test_a_group_dies_whole() -> None:
    """SIGKILL to the group ends the main process and all that it started."""

    async def scene(world: World) -> None:
        pid = world.start("/bin/sh", "-c", "sleep 60 & sleep 60 & wait")
        family = await until(
            lambda: len(found := psutil.Process(pid).children()) == 2 and found, "the children"
        )
        assert world.reaper.signal_group(pid, signal.SIGKILL)
        await until(lambda: world.reaper.group_is_empty(pid), "the worker's end")
        assert world.exits == {pid: KILLED}
        assert [False, False] == [process.is_running() for process in family]

    play(scene)


def test_zombies_that_a_worker_leaves_do_not_keep_it() -> None:
    """kill(2) finds zombies too, so they are reaped before anybody is asked."""

    async def scene(world: World) -> None:
        code = (
            "import os\n"
            "for _ in range(5):\n"
            "    if os.fork() == 0: os._exit(0)\n"
            "for _ in range(5):\n"
            "    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n"
        )
        pid = world.python(code)
        await until(lambda: world.exits, "the main process's end")
        await until(lambda: world.reaper.group_is_empty(pid), "the worker's end")
        assert psutil.Process().children() == []

    play(scene)


def test_who_leaves_the_group_is_still_of_the_worker() -> None:
    """A shell gives each job a group of its own: the session tells."""

    async def scene(world: World) -> None:
        code = "import os, time\nif os.fork(): os._exit(0)\nos.setpgid(0, 0)\ntime.sleep(60)\n"
        pid = world.python(code)
        await until(lambda: world.exits, "the main process's end")
        assert world.was_empty == {pid: False}
        (job,) = psutil.Process().children()
        await until(lambda: os.getpgid(job.pid) == job.pid, "it has left the group")
        assert world.reaper.signal_group(pid, signal.SIGTERM)
        await until(lambda: world.emptied == [pid], "the worker's end")
        assert not job.is_running()

    play(scene)


def test_who_leaves_the_session_while_we_look_is_still_of_the_worker(tmp_path: Path) -> None:
    """Whom we have seen in the worker belongs to it, whatever it does then."""
    note = tmp_path / "go"
    code = (
        "import os, sys, time\n"
        "if os.fork(): os._exit(0)\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.001)\n"
        "os.setsid()\n"
        "time.sleep(60)\n"
    )

    async def scene(world: World) -> None:
        pid = world.python(code, str(note))
        await until(lambda: world.exits, "the main process's end")
        assert world.was_empty == {pid: False}
        (escaped,) = psutil.Process().children()
        note.touch()
        await until(lambda: os.getsid(escaped.pid) == escaped.pid, "it has left the session")
        assert world.emptied == []
        assert world.reaper.signal_group(pid, signal.SIGKILL)
        await until(lambda: world.emptied == [pid], "the worker's end")
        assert not escaped.is_running()

    play(scene)


def test_a_member_whose_parent_is_a_stranger_is_found_gone_by_the_timer(tmp_path: Path) -> None:
    """No SIGCHLD tells of a process whose living parent is nobody's: look, ever less often."""
    note = tmp_path / "pid"
    code = (
        "import os, sys, time\n"
        "if os.fork():\n"  # the main process
        "    while not os.path.exists(sys.argv[1]): time.sleep(0.001)\n"
        "    os._exit(0)\n"
        "child = os.fork()\n"
        "if child == 0: time.sleep(60)\n"  # the member that stays in the group
        "os.setsid()\n"
        "open(sys.argv[1] + '.new', 'w').write(str(os.getpid()))\n"
        "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
        "os.waitpid(child, 0)\n"
        "time.sleep(60)\n"
    )

    async def scene(world: World) -> None:
        pid = world.python(code, str(note))
        await until(lambda: world.exits, "the main process's end")
        parent = int(note.read_text())
        try:
            assert world.emptied == []
            world.reaper.signal_group(pid, signal.SIGKILL)
            await until(lambda: world.emptied == [pid], "the worker's end")
            assert is_alive(parent), "nobody told us by dying"
            assert world.reaper._recheck_timer is None, "nothing lingers, so nobody polls"
        finally:
            os.kill(parent, signal.SIGKILL)
        await until(lambda: not psutil.pid_exists(parent), "the parent is reaped")

    play(scene)


def test_strangers_that_come_to_us_are_reaped() -> None:
    """A grandchild in a session of its own is nobody's main process, yet leaves no zombie."""

    async def scene(world: World) -> None:
        code = (
            "import os\n"
            "for _ in range(7):\n"
            "    if os.fork() == 0:\n"
            "        os.setsid()\n"
            "        if os.fork() == 0: os._exit(5)\n"
            "        os._exit(0)\n"
        )
        pid = world.python(code)
        await until(lambda: world.exits, "the main process's end")
        await until(lambda: psutil.Process().children() == [], "no zombies")
        assert list(world.exits) == [pid]

    play(scene)


def test_a_storm_of_strangers_is_reaped_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound on one turn of the loop loses nobody."""
    monkeypatch.setattr(limits, "REAP_TURN_MAX", 2)
    test_strangers_that_come_to_us_are_reaped()
    test_zombies_that_a_worker_leaves_do_not_keep_it()


def test_an_adopted_worker_whose_number_is_free_is_nobody_else() -> None:
    """Processes from outside our pid namespace are in group and session 0; init, and we, are of no worker."""
    mark = b"SNG_TOKEN=nobody has this one"
    adopted = SessionWhole(finished(), mark, scattered=True)
    assert adopted.is_gone(Census(tuple))
    assert {} == adopted.members(Census(tuple))
    assert not adopted.signal(signal.SIGCONT, Census(tuple))


def test_we_and_our_ancestors_are_never_part_of_a_worker() -> None:
    """Whoever starts a daemon from the shell of a worker has the worker's mark, and so has the daemon."""
    name, value = next(iter(os.environ.items()))
    mark = f"{name}={value}".encode()
    found = Census(tuple).scattered(None, mark)
    assert not {os.getpid(), os.getppid(), 1} & set(found)


def finished() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid
