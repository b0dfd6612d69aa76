"""A prober under a reaper of its own, for tests; nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from supervisord_ng.model.exits import ExitStatus
from supervisord_ng.model.reports import Usage
from supervisord_ng.model.spec import LaunchSpec
from supervisord_ng.runtime.probes import Prober, Subject
from supervisord_ng.runtime.reaper import Reaper, become_subreaper
from tests.runtime.world import until

Told = TypeVar("Told")

SUBJECT = Subject(LaunchSpec(("worker",), environment={"PATH": "/usr/bin:/bin"}), {})


def play(scene: Callable[[Prober], Awaitable[Told]]) -> Told:
    """Run a scene with a prober whose reaper speaks to nobody else."""

    async def run() -> Told:
        loop = asyncio.get_running_loop()

        def exited(pid: int, status: ExitStatus | None, _: Usage | None) -> None:
            assert prober.exited(pid, status)

        def emptied(pid: int) -> None:
            assert prober.emptied(pid)

        reaper = Reaper(loop, exited, emptied)
        prober = Prober(loop, reaper)
        try:
            return await scene(prober)
        finally:
            prober.close()
            await until(lambda: not prober._checks, "all checks are gone")
            reaper.close()

    assert become_subreaper()
    try:
        return asyncio.run(run())
    finally:
        assert become_subreaper(enable=False)
