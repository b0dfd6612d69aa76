"""The output of all workers of a node: what their captures share, from the pipes to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from supervisord_ng import limits
from supervisord_ng.model.spec import LogSpec, SupervisorSpec, WorkerSpec
from supervisord_ng.runtime import clock
from supervisord_ng.runtime.intake import Intake
from supervisord_ng.runtime.logfile import LogFile
from supervisord_ng.runtime.logs import Capture
from supervisord_ng.runtime.outlets import Outlets

LineTap = Callable[[str, list[bytes]], None]
"""Receives the name of a worker and complete lines of its output."""


class Captures:
    """Makes captures and ends them.

    Args:
        loop: of the daemon.
        runtime_dir: of the node, whose lock is held.
        on_problem: told, in words, what went wrong.
        tap: gets all output as lines, None for nobody.

    Raises:
        SupervisordNGError: the pipes can not be made.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        runtime_dir: str,
        on_problem: Callable[[str], None],
        tap: LineTap | None = None,
    ) -> None:
        self._loop = loop
        self._on_problem = on_problem
        self._tap = tap
        self._outlets = Outlets(loop, runtime_dir, on_problem)
        self._intake = Intake(loop)
        self._open: dict[str, Capture] = {}
        self._said_ns: dict[str, int] = {}  # when a loss was said last

    def open(self, name: str, spec: LogSpec) -> Capture:
        """The capture of a worker; a new one unless it has one."""
        if name not in self._open:
            tap = self._tap
            lines = None if tap is None else lambda lines: tap(name, lines)
            log = LogFile(spec, lambda why: self._lost(name, why))
            self._open[name] = Capture(self._intake, log, self._outlets, name, lines)
        return self._open[name]

    def forget(self, name: str) -> None:
        """The worker is gone from the tree: what it wrote goes to its log still."""
        capture = self._open.pop(name, None)
        if capture is not None:
            capture.close()
            self._outlets.forget(name)
            self._said_ns.pop(name, None)

    def rescue(self, tree: SupervisorSpec) -> None:
        """Take what was written while no daemon ran, of workers that start again and of those that do not."""
        for child in tree.children:
            if isinstance(child, SupervisorSpec):
                self.rescue(child)
            elif isinstance(child, WorkerSpec) and self._outlets.has_output(child.name):
                self.open(child.name, child.log).rescue()

    def reopen(self) -> None:
        """Somebody has moved the log files away: begin new ones."""
        for capture in self._open.values():
            capture.reopen()

    async def flush(self, timeout_s: float = limits.LOG_FLUSH_TIMEOUT_S) -> bool:
        """Wait until everything that was written until now is in the logs; say whether it is."""
        written = [self._is_written(capture) for capture in self._open.values()]
        if not written:
            return True
        _, missing = await asyncio.wait(written, timeout=timeout_s)
        return not missing

    def _is_written(self, capture: Capture) -> asyncio.Future[None]:
        future = self._loop.create_future()

        def done(_: None) -> None:
            if not future.done():
                future.set_result(None)

        capture.when_written(lambda _: None, done)
        return future

    def detach(self) -> None:
        """Read no more, and leave the pipes to the next daemon; waits until what was read is written."""
        for capture in self._open.values():
            capture.detach()
        if not self._intake.close(limits.LOG_FLUSH_TIMEOUT_S):
            self._on_problem("cannot write the last output of workers: the disk does not take it")

    def close(self) -> None:
        """End everything. Waits, for a bounded time, for the disk to take what there is."""
        for name in tuple(self._open):
            self.forget(name)
        if not self._intake.close(limits.LOG_FLUSH_TIMEOUT_S):
            self._on_problem("cannot write the last output of workers: the disk does not take it")
        for name, count in self._outlets.close().items():
            self._on_problem(
                f"cannot log {count} bytes of output of {name}: it is no longer in the tree"
            )

    def _lost(self, name: str, why: str) -> None:
        """On the writer's thread."""
        self._loop.call_soon_threadsafe(self._say_loss, name, why)

    def _say_loss(self, name: str, why: str) -> None:
        now = clock.monotonic_ns()
        if now - self._said_ns.get(name, -limits.LOG_LOSS_SAID_NS) >= limits.LOG_LOSS_SAID_NS:
            self._said_ns[name] = now
            self._on_problem(f"cannot log output of {name}: {why}; what is lost is counted")
