"""The SDK: what a Python worker says to its supervisor. See docs/sdk.md.

    from supervisord_ng import worker

    with worker.attach() as w:
        w.ready()
        for job in w.beating(jobs):
            work(job)

Importing this costs nothing: ZeroMQ comes in at `attach`, and only under a supervisor. Run by
hand, the same program does the same work and says nothing to anybody. No call blocks, whatever
the daemon does.

    heart       the thread that speaks: beats at the interval, passes on what the worker says
    stopping    the event behind `Worker.stopping`
    sigterm     what SIGTERM does to it
    excepthook  uncaught exceptions
    stacks      where every thread stands
    aio         the same for asyncio
"""

from __future__ import annotations

import atexit
import os

from supervisord_ng.worker.stopping import StopEvent

# That of `typing` would make the import of the SDK four times as slow; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self, TypeVar

    from supervisord_ng.worker.aio import AsyncWorker
    from supervisord_ng.worker.excepthook import Hooks
    from supervisord_ng.worker.heart import Heart
    from supervisord_ng.worker.sigterm import TermHandler

    T = TypeVar("T")

__all__ = ["Worker", "attach", "attach_async"]


def attach() -> Worker:
    """Connect to the supervisor that started this process; do nothing when there is none.

    Leave it with `with`, or it ends with the process. The main thread should call it, since only
    that can take SIGTERM. Call it before dropping privileges: the kernel notes the user at that
    moment.

    Raises:
        RuntimeError: this process is attached already.
        zmq.ZMQError: $SNG_HEARTBEAT is no endpoint.
    """
    return Worker()


def attach_async() -> AbstractAsyncContextManager[AsyncWorker]:
    """`attach` for ``async with``: knows the running loop's tasks and unhandled exceptions too."""
    from supervisord_ng.worker import aio

    return aio.attached()


class Worker:
    """A worker's line to its supervisor. Methods may be called from any thread."""

    def __init__(self) -> None:
        global _attached  # noqa: PLW0603
        if _attached is not None:
            raise RuntimeError("cannot attach: this process is attached already")
        self._progress = 0
        # One entry for each block; a list because `+= 1` in two threads may lose one of them.
        self._idle: list[None] = []
        self._stop_event = StopEvent()
        self._heart: Heart | None = None
        self._hooks: Hooks | None = None
        self._term: TermHandler | None = None
        endpoint, token = os.environ.get("SNG_HEARTBEAT"), os.environ.get("SNG_TOKEN")
        if endpoint and token:
            self._connect(endpoint, token)
        _attached = self

    @property
    def supervised(self) -> bool:
        """Whether somebody listens: False when run by hand, in a fork, and after the end."""
        return self._heart is not None

    @property
    def stopping(self) -> StopEvent:
        """Set when the worker shall end: SIGTERM came, or the supervisor's `stop`.

        Who never asks for this event ends by SIGTERM as any program does.
        """
        if self._term is not None:
            self._term.watched = True
        return self._stop_event

    def ready(self) -> None:
        """Say that the work can begin, for ``ready = "heartbeat"``."""
        if self._heart is not None:
            self._heart.say_ready()

    def beat(self) -> None:
        """Say that the work has moved. Only counts: the beats go out at their own interval.

        Before the first call beats say `idle`; from then on the counter must move within the
        timeout.
        """
        self._progress += 1

    def status(self, text: str) -> None:
        """Show one line to people in ``sng status``; the latest wins."""
        if self._heart is not None:
            self._heart.say_status(text)

    def idle(self) -> Idle:
        """Around a wait for work: nothing has to move meanwhile. Speaks for the whole worker."""
        return Idle(self)

    def beating(self, items: Iterable[T]) -> Iterator[T]:
        """Pass `items` through with a beat for each; end early, losing none, when `stopping`."""
        if self.stopping.is_set():
            return
        for item in items:
            self.beat()
            yield item
            if self.stopping.is_set():
                return

    def crash(self, error: BaseException) -> None:
        """Put an exception into the crash report. Uncaught ones go there by themselves."""
        if self._heart is not None:
            self._heart.say_crash(error)

    def detach(self) -> None:
        """Say goodbye and let go of the signal, the hooks and the socket. Safe to call twice.

        Waits for the last words to be taken, at most `limits.WORKER_FLUSH_NS`, and only where
        there are any.
        """
        self._release()
        heart, self._heart = self._heart, None
        if heart is not None:
            heart.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, SystemExit):
            self.crash(error)
        self.detach()

    def _connect(self, endpoint: str, token: str) -> None:
        import faulthandler

        from supervisord_ng.worker.excepthook import Hooks
        from supervisord_ng.worker.heart import Heart
        from supervisord_ng.worker.sigterm import TermHandler

        if not faulthandler.is_enabled():
            # A SIGSEGV then leaves its stack on standard error: in the log, and so in the report.
            faulthandler.enable(file=2)
        self._heart = Heart(endpoint, token.encode(), self._moved, self._stop_event.set)
        self._hooks = Hooks(self.crash)
        self._term = TermHandler(self._stop_event)
        atexit.register(self.detach)

    def _moved(self) -> int | None:
        return self._progress if self._progress and not self._idle else None

    def _release(self) -> None:
        """Undo everything that `attach` did to this process, apart from the heart."""
        global _attached  # noqa: PLW0603
        if _attached is self:
            _attached = None
        atexit.unregister(self.detach)
        if self._term is not None:
            self._term.restore()
        if self._hooks is not None:
            self._hooks.restore()

    def _disarm(self) -> None:
        """In a fork: never speak for the parent. Its `stopping` is the fork's too."""
        self._release()
        # A ZeroMQ context must not be touched across a fork, not even to free it: keep it, unused.
        _of_parents.append(self._heart)
        self._heart = None


class Idle:
    """A wait for work, as a context; see `Worker.idle`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __enter__(self) -> None:
        self._worker._idle.append(None)  # noqa: SLF001

    def __exit__(self, *_: object) -> None:
        self._worker.beat()  # before the idleness ends: an old counter would look like a hang
        self._worker._idle.pop()  # noqa: SLF001


_attached: Worker | None = None
_of_parents: list[Heart | None] = []


def _after_fork_in_child() -> None:
    if _attached is not None:
        _attached._disarm()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork_in_child)
