"""The flight recorder: what happened last, so that a failure can be lived again (``sim.replay``).

Two segments, each with the state at its beginning: when the current one is full it becomes the previous one,
and the one before that is forgotten. So at least one segment's worth of events can always be replayed, and
recording an event costs an append; nothing is encoded before somebody wants to see it. States share what did
not change, so the two kept here cost little.
"""

from __future__ import annotations

import glob
import os
import time
import traceback
from collections.abc import Callable

from supervisord_ng import limits
from supervisord_ng.core.events import Beats, Event, FramesFromChildren
from supervisord_ng.core.flight import Failure, Flight, Header, Moment, lines
from supervisord_ng.core.state import NodeState
from supervisord_ng.runtime import clock


class _Segment:
    """A state and what happened after it."""

    __slots__ = ("bytes", "moments", "start")

    def __init__(self, start: NodeState) -> None:
        self.start = start
        self.moments: list[tuple[int, Event]] = []
        self.bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether one of its bounds is reached."""
        return len(self.moments) >= limits.FLIGHT_EVENTS or self.bytes >= limits.FLIGHT_BYTES


class Recorder:
    """Remembers the last events of one node.

    Args:
        node: its name.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._previous: _Segment | None = None
        self._current: _Segment | None = None

    def begin(self, state: NodeState) -> None:
        """The node has booted into `state`."""
        self._current = _Segment(state)

    def record(self, now: int, event: Event, before: NodeState) -> None:
        """`event` is about to happen to the state `before`."""
        current = self._current
        assert current is not None, "recording before the node has booted"
        if current.is_full:
            self._previous = current
            current = self._current = _Segment(before)
        current.moments.append((now, event))
        current.bytes += limits.FLIGHT_EVENT_BYTES
        if isinstance(event, Beats):
            current.bytes += limits.FLIGHT_BEAT_BYTES * len(event.beats)
        elif isinstance(event, FramesFromChildren):
            current.bytes += limits.FLIGHT_EVENT_BYTES * len(event.frames)

    def flight(self, end: NodeState, error: BaseException | None = None) -> Flight:
        """What is remembered.

        Args:
            end: the state as of now.
            error: that ended it, if one did.
        """
        assert self._current is not None, "nothing to tell before the node has booted"
        segments = [segment for segment in (self._previous, self._current) if segment is not None]
        moments = [Moment(*moment) for segment in segments for moment in segment.moments]
        header = Header(
            node=self._node,
            written=clock.wall_s(),
            events=len(moments),
            failure=None if error is None else _failure(error),
        )
        return Flight(header, segments[0].start, moments, end)


def keep(flight: Flight, directory: str, on_problem: Callable[[str], None]) -> None:
    """Write down what led to a failure, so that whoever looks into it can live it again; say where."""
    try:
        path = write(flight, directory)
    except OSError as problem:
        on_problem(f"cannot keep a flight record: {problem}")
        return
    told = f"wrote {path}; please send it along, it has no values of environment variables"
    os.write(2, f"supervisord-ng: {told}\n".encode())


def write(flight: Flight, directory: str) -> str:
    """Write a flight into a new file of `directory` that only its owner may read; return its path.

    Raises:
        OSError: it cannot be written, or there are FLIGHT_FILES_MAX such files already.
    """
    kept = glob.glob(os.path.join(glob.escape(directory), "flight-*.json"))
    if len(kept) >= limits.FLIGHT_FILES_MAX:
        raise FileExistsError(f"{len(kept)} flight records are there already: {directory}")
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(flight.header.written))
    path = os.path.join(directory, f"flight-{when}.json")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        for line in lines(flight):
            file.write(line + b"\n")
    return path


def _failure(error: BaseException) -> Failure:
    trace = "".join(traceback.format_exception(error))
    return Failure(type(error).__name__, str(error), trace)
