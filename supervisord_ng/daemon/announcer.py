"""What the service manager is told of this node, and when: up, how the tree is, alive, going.

Knows the rows of the tree and nothing else of it. How it is said is `runtime.systemd`. A manager that does not
listen is a matter for the log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from supervisord_ng import limits
from supervisord_ng.model.status import Row, State
from supervisord_ng.runtime import clock
from supervisord_ng.runtime.systemd import Notifier

# States that are worth a name, the worst first. Running, and ended as it should, go without saying.
_WORST_FIRST = (
    State.FAILED,
    State.BACKOFF,
    State.RESTARTING,
    State.LOST,
    State.STARTING,
    State.WAITING,
    State.STOPPING,
    State.STOPPED,
)


class Announcer:
    """Lives as long as the daemon; every method is called in the loop's own thread.

    Args:
        loop: whose turning each beat proves.
        notifier: towards the service manager.
        rows: the rows of the tree as it is now.
        on_problem: told when the service manager could not be reached.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        notifier: Notifier,
        rows: Callable[[], Sequence[Row]],
        on_problem: Callable[[OSError], None],
    ) -> None:
        self._loop = loop
        self._notifier = notifier
        self._rows = rows
        self._on_problem = on_problem
        self._phase = "starting"
        self._reloads = 0
        self._said = ""
        self._later: asyncio.TimerHandle | None = None
        self._beat: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The tree is about to be started; from here on the watchdog hears beats."""
        self._tick()

    def changed(self) -> None:
        """Something has happened: the status line follows, soon but not for each single event."""
        if self._later is None and self._notifier.is_heard:
            self._later = self._loop.call_later(
                limits.STATUS_LINE_WAIT_NS / limits.SECOND, self._say_status
            )

    def up(self) -> None:
        """The tree is up, whether for the first time or after a reload."""
        self._phase = ""
        self._said = self._line()
        self._tell(self._notifier.ready(self._said))

    def reloading(self) -> None:
        """A reload begins; `reloaded` follows, whatever becomes of it. A tree on its way up stays so."""
        self._reloads += 1
        if not self._phase and self._reloads == 1:
            self._tell(self._notifier.reloading(clock.monotonic_ns() // limits.US))

    def reloaded(self) -> None:
        """A reload is done, or was refused."""
        self._reloads -= 1
        if not self._phase and not self._reloads:
            self.up()

    def stopping(self) -> None:
        """The orderly stop begins."""
        self._phase = "stopping"
        self._tell(self._notifier.stopping())
        self._tick()  # the time for the stop runs from now on
        self._say_status()

    def ended(self, how: str) -> None:
        """The tree has ended; nothing is said after this."""
        self.close()
        self._tell(self._notifier.status(how))

    def close(self) -> None:
        """Say nothing more."""
        for handle in (self._later, self._beat):
            if handle is not None:
                handle.cancel()

    def _tick(self) -> None:
        """Say that the loop turns; while the tree starts or stops, that this may take longer, too."""
        interval = self._notifier.watchdog_interval_ns
        if interval is None:
            return
        # The next beat comes after one interval, so twice that is in time.
        extension = 2 * interval if self._phase else None
        self._tell(self._notifier.watchdog(extend_by_ns=extension))
        if self._beat is not None:
            self._beat.cancel()
        self._beat = self._loop.call_later(interval / limits.SECOND, self._tick)

    def _say_status(self) -> None:
        self._later = None
        line = self._line()
        if line != self._said:
            self._said = line
            self._tell(self._notifier.status(line))

    def _line(self) -> str:
        line = tree_line(self._rows())
        return f"{self._phase}: {line}" if self._phase else line

    def _tell(self, error: OSError | None) -> None:
        if error is not None:
            self._on_problem(error)


def tree_line(rows: Sequence[Row]) -> str:
    """How a tree is, in one line: "3 of 5 workers running; backoff: root/pool/resize@2; stopped: ..."."""
    workers = [row for row in rows if row.kind != "supervisor"]
    running = Counter(row.state for row in workers)[State.RUNNING]
    parts = [f"{running} of {len(workers)} workers running"]
    for state in _WORST_FIRST:
        paths = [row.path for row in workers if row.state is state]
        if paths:
            shown = ", ".join(paths[: limits.STATUS_LINE_NAMES])
            more = len(paths) - limits.STATUS_LINE_NAMES
            parts.append(f"{state.value}: {shown}" + (f" and {more} more" if more > 0 else ""))
    return "; ".join(parts)
