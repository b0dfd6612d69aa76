"""Moves what workers write from their pipes to the writer of logs, and knows what to do while that is stuck.

A block is looked at, written, and only then taken out of its pipe: a daemon that is killed in between has lost
nothing. So at most one block of each pipe is under way, and a worker that writes faster than the disk waits for
it, as with any pipe. That ends when the disk stops: once a write hangs, nobody waits. Blocks are taken out at
once and wait in bounded memory; what is more is counted and dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections import deque
from collections.abc import Callable
from typing import Protocol

from supervisord_ng import limits
from supervisord_ng.runtime import clock
from supervisord_ng.runtime.logfile import LogFile, Place, bytes_since, cut
from supervisord_ng.runtime.logwriter import LogWriter
from supervisord_ng.runtime.outlets import Outlet
from supervisord_ng.runtime.peek import Peek
from supervisord_ng.runtime.progress import check_of


class Sink(Protocol):
    """Where the bytes of one pipe go."""

    @property
    def keeps_bytes(self) -> bool:
        """Whether what is written is what came."""

    def show(self, block: bytes) -> None:
        """Let whoever looks on see what comes next. Each byte is shown once."""

    def whole(self, block: bytes) -> int:
        """Say how much of what comes next can be written without keeping anything of it in memory."""

    def prepare(self, block: bytes) -> bytes:
        """Return what shall be written for what comes next."""


class Intake:
    """All pipes that are read. One epoll of its own, of which the loop waits for one descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.writer = LogWriter(loop, self._stalled, self._progressed)
        self.peek = Peek()
        self.epoll = select.epoll()
        self._loop = loop
        self._sources: dict[int, Source] = {}  # by descriptor
        self._waiting: deque[Source] = deque()  # for room in the writer's queue
        self._gathering: list[Source] = []
        loop.add_reader(self.epoll.fileno(), self._ready)

    def open(self, outlet: Outlet, log: LogFile, sink: Sink) -> Source:
        """Read a pipe from now on, with what is in it."""
        source = self._sources[outlet.fd] = Source(self, outlet, log, sink)
        return source

    def forget(self, source: Source) -> None:
        """It is closed."""
        del self._sources[source.outlet.fd]
        if source in self._waiting:
            self._waiting.remove(source)

    def gather(self, source: Source, delay_ns: int) -> None:
        """Let it go on in a moment, so that small writes become one block."""
        if not self._gathering:
            self._loop.call_later(delay_ns / limits.SECOND, self._gathered)
        self._gathering.append(source)

    def await_room(self, source: Source) -> None:
        """Let it go on when the writer has less to do."""
        self._waiting.append(source)

    @property
    def is_full(self) -> bool:
        """Whether the writer has so much to do that nothing more may be given to it."""
        return self.writer.queued_bytes >= limits.LOG_QUEUE_BYTES

    def close(self, timeout_s: float) -> bool:
        """End; say whether all that was taken is on disk. The sources must be closed."""
        assert not self._sources, "closed before its sources"
        self._loop.remove_reader(self.epoll.fileno())
        self.epoll.close()
        self.peek.close()
        return self.writer.close(timeout_s)

    def _ready(self) -> None:
        for fd, _ in self.epoll.poll(0, limits.LOG_READY_MAX):
            source = self._sources.get(fd)
            if source is not None:
                source.readable()

    def _gathered(self) -> None:
        gathering, self._gathering = self._gathering, []
        for source in gathering:
            source.gathered()

    def _stalled(self) -> None:
        self._waiting.clear()
        for source in tuple(self._sources.values()):
            source.let_go()

    def _progressed(self) -> None:
        while self._waiting and not self.is_full:
            self._waiting.popleft().pump()


class Source:
    """One pipe, and the log that its bytes go to."""

    def __init__(self, intake: Intake, outlet: Outlet, log: LogFile, sink: Sink) -> None:
        self.outlet = outlet
        self.lost = 0  # bytes dropped here that the log does not tell of yet
        self._intake = intake
        self._log = log
        self._sink = sink
        self._held: bytes | None = None  # what is being written and still in the pipe
        self._queued = 0  # bytes that the writer has of us
        self._taken = 0  # bytes taken out of it, ever
        self._shown = 0  # bytes shown, ever
        self._marks: deque[tuple[int, Callable[[], None]]] = deque()  # with the place they stand at
        self._written_ns = 0  # when a block was written last
        self._waits = 0  # for the end of the line that is there now
        self._is_gathering = False
        self._is_closed = False
        self._is_watched = False
        self._recover()
        self._watch()

    def _recover(self) -> None:
        """Take out what an earlier daemon has written already, when it was killed before it could do so."""
        block, spec = self.outlet.notes.unfinished(), self._log.spec
        if block is None:
            return
        head = self._intake.peek.look(self.outlet.fd, min(block.length, limits.LOG_CHECK_BYTES))
        if self.outlet.waiting() >= block.length and check_of(head) == block.check:
            with contextlib.suppress(OSError):  # a log that can not be looked at is written again
                written = bytes_since(spec, block.place)
                if written >= block.written:
                    self._take(block.length)
                elif self._sink.keeps_bytes:
                    self._take(written)
                else:
                    cut(spec, block.place)
        self.outlet.notes.done()

    def mark(self, reached: Callable[[], None]) -> None:
        """Call `reached` when all that is in the pipe now was given to the writer; at once if nothing is."""
        waiting = self.outlet.waiting()
        if waiting == 0 and not self._marks:
            reached()
        else:
            self._marks.append((self._taken + waiting, reached))
            if self._is_gathering:
                self.gathered()

    def readable(self) -> None:
        """There is something in the pipe."""
        self._unwatch()
        self._pump_or_gather()

    def gathered(self) -> None:
        """Small writes had time to become one block."""
        if self._is_gathering and not self._is_closed:
            self._is_gathering = False
            self.pump()

    def pump(self) -> None:
        """Give the next block to the writer, if the one before is written."""
        intake, peek, fd = self._intake, self._intake.peek, self.outlet.fd
        left = limits.LOG_TURN_BYTES  # of this turn of the loop; a block that is held ends it too
        while self._held is None:
            self._reach_marks()
            stalled = intake.writer.is_stalled
            if intake.is_full and not stalled:
                intake.await_room(self)
                return
            block = peek.look(fd, self._next_size()) if left > 0 else b""
            if not block:
                if left > 0:  # nothing is there, whatever somebody has done to our count
                    self._reach_marks(all_of_them=True)
                self._watch()
                return
            left -= len(block)
            self._show(block)
            if self._waits_for_line_end(block):
                return
            block = block[: self._sink.whole(block) or len(block)]
            if 2 * len(block) >= self.outlet.capacity < limits.PIPE_BYTES:
                self.outlet.enlarge()
            if stalled:
                self._take(len(block))
                self._spill(block)
            else:
                self._held = block
                self._give(block)

    def show_now(self) -> None:
        """Show everything that is there, before its turn to be written comes."""
        block = self._intake.peek.look(self.outlet.fd, self.outlet.waiting() or 1)
        self._show(block)

    def _waits_for_line_end(self, block: bytes) -> bool:
        """Leave an unfinished line in the pipe for a moment: what is kept of it in memory dies with us."""
        enough = min(limits.LOG_READ_BYTES, self.outlet.capacity // 2)
        if self._sink.whole(block) or self._marks or len(block) >= enough:
            self._waits = 0
            return False
        if self._waits == limits.LOG_LINE_END_WAITS:
            return False
        self._waits += 1
        self._gather(limits.LOG_GATHER_NS)
        return True

    def let_go(self) -> None:
        """The writer hangs: wait no longer for the block that it has, nor for any other."""
        self._take_held()
        self.pump()

    def close(self) -> None:
        """Take what is there now and read no more."""
        self._take_held()
        waiting = self.outlet.waiting()
        while waiting > 0 and (block := self._intake.peek.look(self.outlet.fd, waiting)):
            self._show(block)
            self._take(len(block))
            self._spill(block)
            waiting -= len(block)
        self._reach_marks(all_of_them=True)
        self.detach()

    def detach(self) -> None:
        """Read no more, and leave what is there to the next daemon; it has notes of what is being written."""
        self._is_closed = True
        self._unwatch()
        self._intake.forget(self)

    def _pump_or_gather(self) -> None:
        """A block costs the same whether it has one byte or LOG_READ_BYTES: see that there are few small ones.

        The first after a pause goes at once, and whatever somebody waits for, or a worker might.
        """
        left_ns = self._written_ns + limits.LOG_GATHER_NS - clock.monotonic_ns()
        enough = min(limits.LOG_READ_BYTES, self.outlet.capacity // 4)
        if left_ns <= 0 or self._marks or not 0 < self.outlet.waiting() < enough:
            self.pump()
        else:
            self._gather(left_ns)

    def _watch(self) -> None:
        """Be told when something comes.

        Not while we have something to do: each write(2) to a pipe calls all who watch it, even those who wait
        for nothing (EPOLLONESHOT), which costs a worker that writes line by line a fifth of its speed.
        """
        if not self._is_watched:
            self._is_watched = True
            self._intake.epoll.register(self.outlet.fd, select.EPOLLIN)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._intake.epoll.unregister(self.outlet.fd)

    def _gather(self, delay_ns: int) -> None:
        self._is_gathering = True
        self._intake.gather(self, delay_ns)

    def _next_size(self) -> int:
        """How much to look at: not beyond the next mark."""
        if not self._marks:
            return limits.LOG_READ_BYTES
        return min(self._marks[0][0] - self._taken, limits.LOG_READ_BYTES)

    def _reach_marks(self, *, all_of_them: bool = False) -> None:
        while self._marks and (all_of_them or self._marks[0][0] <= self._taken):
            _, reached = self._marks.popleft()
            reached()

    def _show(self, block: bytes) -> None:
        """Show what of a block, which is next in the pipe, was not shown yet."""
        known = max(self._shown - self._taken, 0)
        if known < len(block):
            self._sink.show(block[known:])
            self._shown = self._taken + len(block)

    def _take(self, count: int) -> None:
        self._intake.peek.take(self.outlet.fd, count)
        self._taken += count

    def _take_held(self) -> None:
        if self._held is not None:
            self._take(len(self._held))
            self._held = None
            self.outlet.notes.done()

    def _spill(self, block: bytes) -> None:
        """Give a block away that is in no pipe any more; drop it where there is no room."""
        if self._intake.is_full or self._queued >= limits.LOG_SPILL_BYTES:
            self.lost += len(block)
        else:
            self._give(block)

    def _give(self, block: bytes) -> None:
        data, lost, log = self._sink.prepare(block), self.lost, self._log
        self.lost = 0

        def write() -> None:
            if lost:
                log.lose(lost, "the disk was too slow")
            # A block that was let go is in no pipe any more: there is nothing to be noted for the next daemon.
            log.append(data, noted if self._held is block else None)

        def noted(place: Place) -> None:
            self.outlet.notes.writing(block, place, len(data))

        size = len(data)
        self._queued += size
        self._intake.writer.submit(write, lambda _: self._written(size), size=size)

    def _written(self, size: int) -> None:
        self._queued -= size
        # Blocks that were let go are all written before another one is held: the writer keeps the order.
        if self._held is not None and not self._is_closed:
            self._take_held()
            self._written_ns = clock.monotonic_ns()
            self._pump_or_gather()
        elif self.lost and self._queued == 0:
            self._give(b"")  # let the log tell of it
