"""What is left of an incarnation when it has ended: the evidence for its crash report."""

from __future__ import annotations

import msgspec

from supervisord_ng.model.reports import Usage


class Remains(msgspec.Struct):
    """Collected while the incarnation lives and when it ends. Times are seconds since the epoch.

    The one mutable noun: it is filled in by whoever sees something of the worker, until it is reported.
    """

    path: str
    incarnation: int
    pid: int | None = None
    started: float | None = None
    ended: float | None = None
    core_dumped: bool = False
    traceback: str | None = None
    stacks: str | None = None
    usage: Usage | None = None
    message: str | None = None
    finding: str | None = None  # what the last look at it from outside found wrong
    adopted: bool = False  # an earlier daemon has started it
    spoke: bool = False  # its SDK has connected, so a traceback may still be on its way
