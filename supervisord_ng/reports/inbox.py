"""Crash reports that a node below has sent: checked, and marked with the way that they came.

What is wrong is left out and told, never fatal: it is lost whatever we do, and those behind it must
not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from supervisord_ng import limits
from supervisord_ng.errors import ProtocolError
from supervisord_ng.model.reports import CrashReport
from supervisord_ng.reports.queue import Encoded
from supervisord_ng.wire import parcel

_DECODER = msgspec.json.Decoder(CrashReport)


def reports_in(
    packed: bytes, size: int, sender: str, on_bad: Callable[[str], None]
) -> list[Encoded]:
    """The reports in a parcel, in order.

    Args:
        packed: as `wire.parcel` has it.
        size: what it claims to be unpacked.
        sender: the node that we have it from, which `via` of each report then names, unless it made the report.
        on_bad: told about each thing that cannot be read.
    """
    try:
        bodies = parcel.unpack(packed, size)
    except ProtocolError as error:
        on_bad(f"{sender}: {error}")
        return []
    found = []
    for body in bodies:
        try:
            report = _DECODER.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            on_bad(f"{sender}: cannot read a report: {error}")
            continue
        if len(report.id) > limits.REPORT_ID_MAX or len(report.via) > limits.TREE_DEPTH_MAX:
            on_bad(f"{sender}: cannot take a report: its id or its way is too long")
        elif report.node == sender and not report.via:
            found.append(Encoded(report, body))
        else:
            passed_on = replace(report, via=(*report.via, sender))
            found.append(Encoded(passed_on, msgspec.json.encode(passed_on)))
    return found
