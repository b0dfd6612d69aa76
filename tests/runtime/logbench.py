"""A worker's output from its pipe to its log, without a daemon: for tests of what lies between."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from supervisord_ng.model.spec import LaunchSpec, LogSpec
from supervisord_ng.runtime.captures import Captures
from supervisord_ng.runtime.logs import Output, open_output
from tests.support import POLL_S


class Bench:
    """The capture of a worker `w` whose log is in `folder`, and the processes that write into it."""

    def __init__(self, folder: Path, **spec: Any) -> None:
        self.path = folder / "w.log"
        self.lines: list[bytes] = []
        self.problems: list[str] = []
        self.spec = LogSpec(file=str(self.path), **{"max_bytes": 0, **spec})
        self._runtime_dir = tempfile.mkdtemp(prefix="sng-", dir="/tmp")
        self.captures = Captures(
            asyncio.get_running_loop(),
            self._runtime_dir,
            self.problems.append,
            lambda _, lines: self.lines.extend(lines),
        )
        self.capture = self.captures.open("w", self.spec)

    def start(self, code: str, launch: LaunchSpec | None = None) -> subprocess.Popen[bytes]:
        """Start Python code as a worker would be started; the caller waits for it."""
        output = open_output(launch or launch_of(), self.capture)
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=output.stdout, stderr=output.stderr
        )
        close_all(output)
        return process

    async def written(self) -> int:
        """Wait until all is in the log; return how much of it is of this incarnation."""
        future = asyncio.get_running_loop().create_future()
        self.capture.when_written(lambda count: count, future.set_result)
        return int(await future)

    def close(self) -> None:
        """Close what the bench opened."""
        self.captures.close()
        os.rmdir(self._runtime_dir)


def launch_of(stdout: str = "log", stderr: str = "log") -> LaunchSpec:
    """A specification of which only the two streams matter."""
    return LaunchSpec(command=("unused",), stdout=stdout, stderr=stderr)


def close_all(output: Output) -> None:
    """Close the daemon's copies, as the shell does after a start."""
    for fd in output.to_close:
        os.close(fd)


async def until(look: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Let the loop run until `look` says yes."""
    deadline = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(POLL_S)


def run(scene: Coroutine[Any, Any, None]) -> None:
    """Run one scene in a loop of its own."""
    asyncio.run(asyncio.wait_for(scene, timeout=60))
