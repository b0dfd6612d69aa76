"""Workers that are isolated for real, in their own cgroups or without, for tests; nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from supervisord_ng.model.spec import LaunchSpec
from supervisord_ng.runtime.cgroups import Cgroups, UnavailableError
from supervisord_ng.runtime.isolation import Isolation
from tests.runtime.world import World, play_in, until


def make_cgroups(directory: Path) -> Cgroups:
    """A part of the hierarchy for the daemon of this directory; skips where there is none."""
    try:
        return Cgroups(str(directory))
    except UnavailableError as error:
        pytest.skip(f"this host cannot: {error}")


class Isolated(World):
    """A reaper, and workers under it with a mark, in cgroups where there are some."""

    def __init__(self, cgroups: Cgroups | None) -> None:
        super().__init__()
        self.problems: list[str] = []
        loop = asyncio.get_running_loop()
        self.isolation = Isolation(loop, self.reaper, cgroups, self.problems.append)

    def launch(self, launch: LaunchSpec, name: str = "w") -> int:
        """Start a worker."""
        null = subprocess.DEVNULL
        token = f"token-{len(self.started)}"
        pid = self.isolation.start(
            name,
            launch,
            environment={"PATH": "/usr/bin:/bin", "SNG_TOKEN": token},
            mark=f"SNG_TOKEN={token}",
            stdout=null,
            stderr=null,
        )
        self.started.append(pid)
        return pid

    def script(self, code: str, *arguments: str, **keys: object) -> int:
        """Start a worker that runs this program."""
        command = (sys.executable, "-I", "-S", "-c", code, *arguments)
        return self.launch(LaunchSpec(command, **keys))  # type: ignore[arg-type]

    def launch_idle(self, name: str, seconds: str = "0") -> int:
        """Start a worker that does nothing for a while."""
        return self.launch(LaunchSpec(("/bin/sleep", seconds)), name)

    async def gone(self, pid: int) -> None:
        """Wait until nothing is left of a worker."""
        await until(lambda: self.reaper.group_is_empty(pid), "the worker's end")

    async def end(self) -> None:
        """Leave nothing behind."""
        await super().end()
        self.isolation.close()


def play_isolated(
    scene: Callable[[Isolated], Awaitable[None]], cgroups: Cgroups | None = None
) -> None:
    """Run a scene, and see that its cgroups are gone afterwards."""
    play_in(lambda: Isolated(cgroups), scene)
    if cgroups is not None:
        assert not os.path.exists(cgroups.path)
