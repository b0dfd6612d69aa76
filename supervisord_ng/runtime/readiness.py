"""Watches one incarnation of a worker from outside: is it ready, and, once it is, does it still answer?

From exec to the first sign of its end. What the worker says itself (sd_notify, the SDK) comes in by
`became_ready`; the rest is found here: by probes, by a line of its output, by a newline on a descriptor. What
is found goes to the core, which alone knows what follows, and how long it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
from collections.abc import Callable, Coroutine, Iterator

from supervisord_ng import limits
from supervisord_ng.config.units import format_duration
from supervisord_ng.core.events import BecameReady, Event, Unresponsive
from supervisord_ng.errors import SpawnError
from supervisord_ng.model.exits import LIVENESS
from supervisord_ng.model.remains import Remains
from supervisord_ng.model.spec import Liveness, Ready, WorkerSpec
from supervisord_ng.runtime.descriptors import lent
from supervisord_ng.runtime.logs import Capture
from supervisord_ng.runtime.probes import Prober, Subject, describe

# What is missing as long as nothing has come, for the report of a start that took too long.
_MISSING = {
    "notify": "no READY=1 came on $NOTIFY_SOCKET",
    "heartbeat": "the worker's SDK did not say that it is ready",
    "exit": "it did not end",
    "log": "no line of its output matched {}",
    "fd": "no newline came on descriptor {}",
}


class Watch:
    """One incarnation. Begins with `begin`, when its process exists, and ends with `end`.

    Args:
        loop: of the daemon.
        prober: takes the looks.
        feed: takes what was found.
        spec: how the worker shows that it is ready and alive.
        remains: of this incarnation; keeps what the last look found wrong.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        prober: Prober,
        feed: Callable[[Event], None],
        spec: WorkerSpec,
        remains: Remains,
    ) -> None:
        self._loop = loop
        self._prober = prober
        self._feed = feed
        self._ready = spec.ready
        self._liveness = spec.liveness
        self._remains = remains
        self._subject: Subject | None = None
        self._capture: Capture | None = None
        self._fd: int | None = None  # the end of the pipe of `ready = { fd }` that is read
        self._task: asyncio.Task[None] | None = None
        self._is_ready = False
        self._ended = False

    @contextlib.contextmanager
    def descriptors(self) -> Iterator[tuple[int, ...]]:
        """The descriptors that the process gets besides, under their own numbers, while it is being started.

        Raises:
            SpawnError: there is none to be had.
        """
        if self._ready.kind != "fd":
            yield ()
            return
        number = self._ready.target
        assert isinstance(number, int)
        try:
            self._fd, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _no_descriptor(error) from error
        try:
            os.set_blocking(theirs, True)
            with lent(number, theirs):
                yield (number,)
        finally:
            os.close(theirs)

    def begin(self, subject: Subject, capture: Capture) -> None:
        """Its process exists: look for what says that it is ready.

        Args:
            subject: as whom a check runs.
            capture: of its output.
        """
        self._subject = subject
        kind, target = self._ready.kind, self._ready.target
        if kind in _MISSING:
            self._remains.finding = _MISSING[kind].format(target)
        if kind == "exec":
            self.became_ready()
        elif kind in ("tcp", "http", "command"):
            self._begin(self._until_ready())
        elif kind == "log":
            self._capture = capture
            pattern = re.compile(str(target))
            capture.listen(lambda lines: self._seen(pattern, lines))
        elif self._fd is not None:
            self._loop.add_reader(self._fd, self._readable)

    def became_ready(self) -> None:
        """The core is being told that it is ready: from now on it has to answer."""
        if self._is_ready or self._ended:
            return
        self._is_ready = True
        self._release()
        self._remains.finding = None
        if self._liveness is not None:
            self._begin(self._while_alive(self._liveness))

    def reconfigure(self, spec: WorkerSpec) -> None:
        """Another liveness holds from now on, another readiness from the next start."""
        before, self._liveness = self._liveness, spec.liveness
        if before == spec.liveness or not self._is_ready or self._ended:
            return
        self._release()
        self._remains.finding = None
        if spec.liveness is not None:
            self._begin(self._while_alive(spec.liveness))

    def end(self) -> None:
        """Its end has begun, or is wanted: look no more, and leave no look under way. May be called twice."""
        self._ended = True
        self._release()

    def _begin(self, looking: Coroutine[None, None, None]) -> None:
        self._task = self._loop.create_task(looking)
        self._task.add_done_callback(_tell)

    def _release(self) -> None:
        """Let go of everything that waits for something."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._capture is not None:
            self._capture.listen(None)
            self._capture = None
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    # --- ready? ----------------------------------------------------------------------------------
    def _found_ready(self) -> None:
        self.became_ready()
        self._feed(BecameReady(self._remains.path, self._remains.incarnation))

    async def _until_ready(self) -> None:
        """Look, first often, then now and then, until all is well. The core bounds the whole."""
        pause_ns = limits.READY_PROBE_FIRST_NS
        while why := await self._look(self._ready, limits.READY_PROBE_TIMEOUT_NS):
            self._remains.finding = f"{describe(self._ready)}: {why}"
            await asyncio.sleep(pause_ns / limits.SECOND)
            pause_ns = min(2 * pause_ns, limits.READY_PROBE_MAX_NS)
        self._task = None  # it is this one that ends here; nobody need cancel it
        self._found_ready()

    def _seen(self, pattern: re.Pattern[str], lines: list[bytes]) -> None:
        if self._capture is not None and any(
            pattern.search(line.decode("utf-8", "replace")) for line in lines
        ):
            self._found_ready()

    def _readable(self) -> None:
        """The worker has written, or closed its end. s6's rule: what counts is a newline."""
        assert self._fd is not None
        with contextlib.suppress(BlockingIOError):
            block = os.read(self._fd, limits.READY_FD_BYTES)
            if b"\n" in block:
                self._found_ready()
            elif not block:
                self._release()  # nobody is left who could write one; the core's patience will end

    # --- alive? ----------------------------------------------------------------------------------
    async def _while_alive(self, liveness: Liveness) -> None:
        """Look at every interval, until so many looks in a row have failed."""
        failed = 0
        interval_s = liveness.interval_ns / limits.SECOND
        due = self._loop.time() + interval_s
        while failed < liveness.failures:
            await asyncio.sleep(due - self._loop.time())
            due = self._loop.time() + interval_s
            why = await self._look(liveness.probe, liveness.timeout_ns)
            failed = failed + 1 if why else 0
            if why:
                times = "1 probe" if failed == 1 else f"{failed} probes in a row"
                self._remains.finding = f"{times} failed: {describe(liveness.probe)}: {why}"
            else:
                self._remains.finding = None
        self._task = None
        self._feed(Unresponsive(self._remains.path, self._remains.incarnation, LIVENESS))

    async def _look(self, probe: Ready, timeout_ns: int) -> str | None:
        """Take one look; None when all is well. One that ended late because the daemon was is no look."""
        assert self._subject is not None
        while True:
            deadline = self._loop.time() + timeout_ns / limits.SECOND
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._prober.look(probe, self._subject)
            except TimeoutError:
                late_s = self._loop.time() - deadline
                if late_s * limits.SECOND <= limits.EVENT_LOOP_LAG_NS:
                    return f"no answer within {format_duration(timeout_ns)}"


def _tell(task: asyncio.Task[None]) -> None:
    """Let the loop tell of a task that ended as none should: our bug."""
    if not task.cancelled():
        task.result()


def _no_descriptor(error: OSError) -> SpawnError:
    why = errno.errorcode.get(error.errno or 0, "unknown")
    words = os.strerror(error.errno or 0).lower()
    return SpawnError(why, f"cannot open a pipe for readiness: {words}")
