"""Which failures are the same failure: fingerprints of crash reports and how often each was seen.

Pure. Two reports have one fingerprint when the same child (instances of one worker count as one)
ended for the same reason, in the same context, at the same line of code. Nodes are not told apart:
a fault of a program is one fault on however many hosts it runs.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

import msgspec

from supervisord_ng.model.names import base_name, leaf, parent
from supervisord_ng.model.reports import Context

_FRAME = re.compile(r'File "(?P<file>[^"\n]+)", line (?P<line>\d+), in (?P<function>[^\n]+)')


class FingerprintCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often one fingerprint was seen. `first` and `last` are seconds since the epoch.

    `path` names the worker without its instance; `frame` is None where there was no traceback.
    """

    path: str
    reason: str
    context: Context
    frame: str | None
    count: int
    first: float
    last: float


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``crashes stats``; the field names are its JSON keys.

    `waiting` are reports that are not on disk yet, `dropped` those that a bound or a disk lost,
    `expired` those that `keep` or `max_count` removed as configured.
    """

    stored: int
    waiting: int
    dropped: int
    expired: int
    fingerprints: tuple[FingerprintCount, ...]


def last_frame(traceback: str | None) -> str | None:
    """Where a Python traceback ends, as "jobs.py:41 in resize"; None when it does not say."""
    at = len(traceback) if traceback else 0
    while traceback and (at := traceback.rfind('File "', 0, at)) >= 0:
        if (frame := _FRAME.match(traceback, at)) is not None:
            break
    else:
        return None
    file, line, function = frame.groups()
    return f"{posixpath.basename(file)}:{line} in {function}"


def without_instance(path: str) -> str:
    """The path that all instances of a worker share: "root/resize" for "root/resize@2"."""
    supervisor, name = parent(path), base_name(leaf(path))
    return f"{supervisor}/{name}" if supervisor else name


def merge(counts: Iterable[FingerprintCount]) -> tuple[FingerprintCount, ...]:
    """Join counts that have one fingerprint; the most frequent first, then the most recent.

    `counts` may name instances of a worker each for itself.
    """
    merged: dict[tuple[str, str, str, str | None], FingerprintCount] = {}
    for one in counts:
        path = without_instance(one.path)
        key = (path, one.reason, one.context, one.frame)
        known = merged.get(key)
        merged[key] = msgspec.structs.replace(
            one,
            path=path,
            count=one.count + (known.count if known else 0),
            first=min(one.first, known.first) if known else one.first,
            last=max(one.last, known.last) if known else one.last,
        )
    return tuple(sorted(merged.values(), key=lambda one: (-one.count, -one.last, one.path)))
