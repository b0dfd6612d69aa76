"""A flight: a stretch of a node's life that can be lived again, and how it is written down.

The core is a function of its state and of what happens when, so a state, everything that happened after it,
and the state at the end are the whole story. The daemon records flights, `sim.replay` replays them; they share
nothing but this file.

Written as JSON, one document a line: the header, the state at the start, each event with its time, the state
at the end. Of the workers' environments only the names are written, because their values may be secrets; the
core never looks at them. Command lines are written as they are: ps(1) shows them to everyone anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

import supervisord_ng
from supervisord_ng.core.events import Event
from supervisord_ng.core.state import NodeState

FORMAT = "supervisord-ng flight"
VERSION = 1
REDACTED = "(not recorded)"


class Failure(msgspec.Struct, frozen=True):
    """An exception that ended the flight."""

    type: str
    message: str
    traceback: str


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. `written` is in seconds since the epoch, `package` the version of ours."""

    format: str = FORMAT
    version: int = VERSION
    package: str = supervisord_ng.__version__
    node: str
    written: float
    events: int
    failure: Failure | None = None


class Moment(msgspec.Struct, frozen=True):
    """Something happened at `now`, in monotonic nanoseconds."""

    now: int
    event: Event


class Flight(msgspec.Struct, frozen=True):
    """A state, what happened after it, and the state that this led to.

    When there is a failure in the header, the last event is the one during which the node failed, and
    `end` is the state before that event if it was the core that failed.
    """

    header: Header
    start: NodeState
    moments: Sequence[Moment]
    end: NodeState


class UnreadableError(ValueError):
    """These lines are no flight that can be replayed. The message says why."""


def lines(flight: Flight) -> Iterator[bytes]:
    """Write a flight down: its lines, without their ends."""
    yield msgspec.json.encode(flight.header)
    yield _encode(flight.start)
    for moment in flight.moments:
        yield _encode(moment)
    yield _encode(flight.end)


def read(written: Iterable[bytes]) -> Flight:
    """Read what `lines` wrote.

    Raises:
        UnreadableError: it is something else, of another version, or not whole.
    """
    rest = iter(written)
    try:
        header = _header(next(rest, b""))
        start = msgspec.json.decode(next(rest, b""), type=NodeState)
        decoder = msgspec.json.Decoder(Moment)
        moments = [decoder.decode(next(rest, b"")) for _ in range(header.events)]
        end = msgspec.json.decode(next(rest, b""), type=NodeState)
    except msgspec.DecodeError as error:
        raise UnreadableError(f"it is damaged or not whole: {error}") from error
    return Flight(header, start, moments, end)


def _header(line: bytes) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise UnreadableError(f"it does not begin like a flight record: {error}") from error
    if header.format != FORMAT:
        raise UnreadableError("it is no flight record")
    if header.version != VERSION:
        raise UnreadableError(f"it has version {header.version}, only {VERSION} can be read here")
    return header


def _encode(value: NodeState | Moment) -> bytes:
    return msgspec.json.encode(_redacted(msgspec.to_builtins(value)))


def _redacted(value: Any) -> Any:
    """The same document without the values of any environment."""
    if isinstance(value, dict):
        return {
            key: dict.fromkeys(part, REDACTED) if key == "environment" else _redacted(part)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(part) for part in value]
    return value
