"""Real processes live and die in all the ways they have; the reaper tells each end once."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisord_ng import limits
from supervisord_ng.model.exits import ExitStatus
from supervisord_ng.model.reports import Usage
from supervisord_ng.runtime.reaper import exit_status
from tests.runtime.world import KILLED, World, await_zombie, play, reap, until
from tests.support import is_alive

pytestmark = pytest.mark.process


# --- how a process ended -----------------------------------------------------------------------


def test_exit_codes_and_signals_are_told_as_they_are() -> None:
    """The code of exit(3), or the signal, never both."""

    async def scene(world: World) -> None:
        codes = {code: world.start("/bin/sh", "-c", f"exit {code}") for code in (0, 1, 255)}
        victim = world.start("/bin/sleep", "60")
        assert world.reaper.signal(victim, signal.SIGKILL)
        await until(lambda: len(world.exits) == 4, "four ends")
        assert {code: world.exits[pid] for code, pid in codes.items()} == {
            code: ExitStatus(code=code) for code in codes
        }
        assert world.exits[victim] == KILLED
        assert set(world.was_empty.values()) == {True}
        assert world.emptied == []

    play(scene)


def test_a_core_dump_is_told() -> None:
    """The eighth bit of the status word, wait(2)."""
    status = exit_status(signal.SIGSEGV | 0x80)
    assert status == ExitStatus(signal=signal.SIGSEGV, core_dumped=True)


def test_usage_is_that_of_the_dead() -> None:
    """Bytes, not the kernel's kilobytes, and seconds of CPU."""

    async def scene(world: World) -> None:
        code = "x = bytearray(b'x') * (64 << 20)\nimport time\nwhile time.process_time() < 0.1: ..."
        pid = world.python(code)
        await until(lambda: world.usages, "the end")
        usage = world.usages[pid]
        assert usage is not None
        assert 64 * limits.MIB < usage.max_rss_bytes < 1024 * limits.MIB
        assert 0.1 <= usage.user_s + usage.system_s < 10

    play(scene)


def test_many_that_die_at_once_are_each_told_once() -> None:
    """SIGCHLD comes once for many, and each pidfd becomes readable besides."""

    async def scene(world: World) -> None:
        pids = [world.start("/bin/sleep", "60") for _ in range(50)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:  # all are zombies before the loop turns again
            await_zombie(pid)
        await until(lambda: len(world.exits) == 50, "fifty ends")
        assert world.exits == dict.fromkeys(pids, KILLED)

    play(scene)


def test_a_sweep_that_comes_first_takes_no_status_away() -> None:
    """SIGCHLD may be handled before the pidfds are: the ends are told all the same."""

    async def scene(world: World) -> None:
        pids = [world.start("/bin/sh", "-c", "exit 9") for _ in range(3)]
        for pid in pids:
            await_zombie(pid)
        world.reaper._sweep()
        assert world.exits == dict.fromkeys(pids, ExitStatus(code=9))

    play(scene)


def test_the_next_may_be_started_from_the_callback() -> None:
    """A restart happens right inside of `on_exit`."""

    async def scene(world: World) -> None:
        def restart(pid: int, status: ExitStatus | None, usage: Usage | None) -> None:
            world.on_exit(pid, status, usage)
            if len(world.started) < 20:
                world.start("/bin/sh", "-c", "exit 1")

        world.reaper._on_exit = restart
        world.start("/bin/sh", "-c", "exit 1")
        await until(lambda: len(world.exits) == 20, "twenty lives")
        assert list(world.exits) == world.started

    play(scene)


def test_nothing_leaks_in_a_hundred_lives() -> None:
    """No descriptor and no zombie is left."""

    async def scene(world: World) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            pid = world.start("/bin/true")
            await until(partial(world.exits.get, pid), "the end")
        assert len(os.listdir("/proc/self/fd")) == before
        assert psutil.Process().children() == []

    play(scene)


# --- signals -----------------------------------------------------------------------------------


def test_a_signal_to_the_main_process_spares_the_rest() -> None:
    """And one to the group does not."""

    async def scene(world: World) -> None:
        pid = world.start("/bin/sh", "-c", "trap 'exit 0' TERM; sleep 60 & wait")
        await until(lambda: psutil.Process(pid).children(), "the child")
        assert world.reaper.signal(pid, signal.SIGTERM)
        await until(lambda: world.exits, "the main process's end")
        assert world.exits == {pid: ExitStatus(code=0)}
        assert world.was_empty == {pid: False}

    play(scene)


def test_the_dead_are_not_signalled() -> None:
    """Their numbers may belong to others by now."""

    async def scene(world: World) -> None:
        pid = world.start("/bin/true")
        await until(lambda: world.exits, "the end")
        assert not world.reaper.signal(pid, signal.SIGTERM)
        assert not world.reaper.signal_group(pid, signal.SIGTERM)

    play(scene)


def test_our_own_group_cannot_be_signalled() -> None:
    """Nor everybody: 0 and 1 mean that to kill(2) and killpg(3)."""

    async def scene(world: World) -> None:
        for pgid in (os.getpgrp(), 1, 0, -1):
            with pytest.raises(AssertionError):
                world.reaper.signal_group(pgid, signal.SIGCONT)

    play(scene)


# --- in strange company ------------------------------------------------------------------------

TRACER = """
import ctypes, sys, time
PTRACE_SEIZE = 0x4206
assert ctypes.CDLL(None).ptrace(PTRACE_SEIZE, int(sys.argv[1]), 0, 0) == 0
time.sleep(60)
"""
TRACED = """
import ctypes, time
ctypes.CDLL(None).prctl(0x59616D61, -1)  # PR_SET_PTRACER, for hosts with Yama
open(__import__("sys").argv[1], "w").close()
time.sleep(60)
"""


def tracer_of(pid: int) -> int:
    """Who traces this process; 0 for nobody."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("TracerPid:")).split()[1])


def test_a_dead_worker_in_a_debugger_neither_blocks_nor_spins(tmp_path: Path) -> None:
    """Its status belongs to the debugger first; ours comes when that lets go."""
    note = tmp_path / "up"

    async def scene(world: World) -> None:
        worker = world.python(TRACED, str(note))
        await until(note.exists, "the worker")
        tracer = world.python(TRACER, str(worker))
        await until(lambda: tracer_of(worker) == tracer, "the debugger")
        pidfd = world.reaper._pidfds[worker]
        world.reaper.signal(worker, signal.SIGKILL)
        await until(lambda: select.select([pidfd], [], [], 0)[0], "the worker's death")
        bystander = world.start("/bin/true")
        await until(lambda: bystander in world.exits, "another's end meanwhile")
        assert worker not in world.exits
        assert world.reaper._epoll.poll(0) == [], "the loop would spin"
        world.reaper.signal(tracer, signal.SIGKILL)
        await until(lambda: worker in world.exits, "the worker's end")
        assert world.exits[worker] == KILLED

    play(scene)


def test_a_status_that_somebody_else_took_is_our_bug() -> None:
    """It must not go unnoticed: the core would wait for this end for ever."""

    async def scene(world: World) -> None:
        told: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: told.append(context["exception"]))
        pid = world.start("/bin/true")
        reap(pid)
        await until(lambda: told, "the error")
        assert [str(error) for error in told] == [
            f"cannot reap process {pid}: somebody else has done so"
        ]
        assert world.reaper.group_is_empty(pid)

    play(scene)


def test_close_leaves_the_running_alone() -> None:
    """An upgrade or a crash of the daemon must not end workers."""

    async def scene(world: World) -> None:
        pid = world.start("/bin/sleep", "60")
        before = len(os.listdir("/proc/self/fd"))
        world.reaper.close()
        assert (
            len(os.listdir("/proc/self/fd")) == before - 4
        )  # the pidfd, and where cgroups are told of
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
        assert is_alive(pid)
        os.kill(pid, signal.SIGKILL)
        reap(pid)
        assert world.exits == {}

    play(scene)
