"""A worker's main process hands its place to another one: that one's end is the worker's."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from supervisord_ng.model.exits import ExitStatus
from tests.runtime.world import KILLED, World, play, until
from tests.support import is_alive

pytestmark = pytest.mark.process

# Forks, says who the child is, and lives on until a line in a file tells it to end; so does the child.
PAIR = """
import os, sys, time
child = os.fork()
who = "heir" if child == 0 else "first"
if child:
    with open(sys.argv[1] + "/child.new", "w") as file:
        file.write(str(child))
    os.rename(sys.argv[1] + "/child.new", sys.argv[1] + "/child")
while not os.path.exists(f"{sys.argv[1]}/{who}"):
    time.sleep(0.005)
if child and "--reaping" in sys.argv:
    os.waitpid(child, 0)
    while not os.path.exists(f"{sys.argv[1]}/end"):
        time.sleep(0.005)
os._exit(int(open(f"{sys.argv[1]}/{who}").read()))
"""


async def pair(world: World, directory: Path, *, reaping: bool = False) -> tuple[int, int]:
    """The first process and its child, to which it has handed its place."""
    first = world.python(PAIR, str(directory), *(["--reaping"] if reaping else []))
    file = directory / "child"
    heir = int(await until(lambda: file.exists() and file.read_text(), "the child exists"))
    world.reaper.hand_over(first, heir, os.pidfd_open(heir))
    return first, heir


def end(directory: Path, who: str, code: int) -> None:
    """Let one of the two exit with this code."""
    (directory / "new").write_text(str(code))
    (directory / "new").rename(directory / who)


def test_the_end_of_the_first_is_nobodys_end(tmp_path: Path) -> None:
    """The heir's is told, under the number by which the worker is known, and with its own status."""

    async def scene(world: World) -> None:
        first, heir = await pair(world, tmp_path)
        end(tmp_path, "first", 3)
        await until(lambda: not is_alive(first), "the first is gone")
        await until(lambda: not os.path.exists(f"/proc/{first}"), "and reaped")
        assert ({}, False) == (world.exits, world.reaper.is_main_gone(first))
        end(tmp_path, "heir", 7)
        await until(lambda: world.exits, "the end")
        assert {first: ExitStatus(code=7)} == world.exits
        assert (True, []) == (world.was_empty[first], world.emptied)
        assert world.reaper.is_main_gone(first)
        assert not os.path.exists(f"/proc/{heir}")

    play(scene)


def test_the_first_is_one_of_the_rest(tmp_path: Path) -> None:
    """When the heir ends before it, something is left of the worker."""

    async def scene(world: World) -> None:
        first, heir = await pair(world, tmp_path)
        os.kill(heir, signal.SIGKILL)
        await until(lambda: world.exits, "the heir's end")
        assert {first: None} == world.exits  # its parent lives, and has not even looked
        assert not world.was_empty[first]
        end(tmp_path, "first", 0)
        await until(lambda: world.emptied, "the end of the rest")
        assert [first] == world.emptied

    play(scene)


def test_an_end_that_its_parent_saw_is_unknown_to_us(tmp_path: Path) -> None:
    """The kernel tells one process only how another ended."""

    async def scene(world: World) -> None:
        first, _ = await pair(world, tmp_path, reaping=True)
        end(tmp_path, "first", 0)
        end(tmp_path, "heir", 7)
        await until(lambda: world.exits, "the heir's end")
        assert ({first: None}, {first: None}) == (world.exits, world.usages)
        (tmp_path / "end").touch()

    play(scene)


def test_signals_to_the_main_process_go_to_the_heir(tmp_path: Path) -> None:
    """And those to all go to both."""

    async def scene(world: World) -> None:
        first, heir = await pair(world, tmp_path)
        end(tmp_path, "first", 0)
        await until(lambda: not os.path.exists(f"/proc/{first}"), "the first is gone")
        assert world.reaper.signal(first, signal.SIGSTOP)
        await until(lambda: " T " in Path(f"/proc/{heir}/stat").read_text(), "it is stopped")
        assert world.reaper.signal_group(first, signal.SIGKILL)
        await until(lambda: world.exits, "the end")
        assert {first: KILLED} == world.exits

    play(scene)


def test_the_place_can_be_given_back(tmp_path: Path) -> None:
    """Then the first one's end counts again, and the heir's no more."""

    async def scene(world: World) -> None:
        first, _ = await pair(world, tmp_path)
        world.reaper.hand_over(first, first, os.pidfd_open(first))
        end(tmp_path, "first", 5)
        await until(lambda: world.exits, "the end")
        assert {first: ExitStatus(code=5)} == world.exits
        assert not world.was_empty[first]

    play(scene)


def test_who_is_held_is_handed_over_all_the_same(tmp_path: Path) -> None:
    """A worker may speak before it has been moved to its place."""

    async def scene(world: World) -> None:
        first = world.python(PAIR, str(tmp_path))
        world.reaper._epoll.unregister(world.reaper._pidfds[first])
        world.reaper._held.add(first)  # as `watch` would have with hold=True
        file = tmp_path / "child"
        heir = int(await until(lambda: file.exists() and file.read_text(), "the child exists"))
        world.reaper.hand_over(first, heir, os.pidfd_open(heir))
        end(tmp_path, "first", 3)
        end(tmp_path, "heir", 7)
        await until(lambda: not is_alive(heir), "both are dead")
        assert {} == world.exits
        world.reaper.release(first, None)
        await until(lambda: world.exits, "the end")
        assert {first: ExitStatus(code=7)} == world.exits

    play(scene)
