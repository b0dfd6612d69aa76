"""What a notification in systemd's protocol means for the worker that sent it. See sd_notify(3).

Words only: where they come from is `runtime.notify`'s to know, what follows from the events is the core's.
Unknown words are ignored, as systemd ignores them. `RELOADING=1` changes nothing but the status line: we never
order a reload, so `MONOTONIC_USEC` has nothing to be compared with, and heartbeats are judged as ever.
"""

from __future__ import annotations

import os

import msgspec

from supervisord_ng import limits
from supervisord_ng.core.events import (
    Beat,
    Beats,
    Event,
    Extended,
    HeartbeatChanged,
    SelfStopping,
    Unresponsive,
)
from supervisord_ng.errors import ProtocolError
from supervisord_ng.model.exits import HEARTBEAT_TIMEOUT

RELOADING = "reloading"  # the status line of who reloads and says no more than that
_INFINITY = 2**64 - 1  # USEC_INFINITY: for ever
_DIGITS_MAX = len(str(_INFINITY))
_ERRNO_MAX = 4_095  # MAX_ERRNO of the kernel
# What a service says about its failure, in words for the crash report.
_FAILURES = {"BUSERROR": "D-Bus error", "VARLINKERROR": "Varlink error"}


class Meaning(msgspec.Struct, frozen=True):
    """What one notification says.

    `ready` is READY=1; whether that is what the core waits for is another question. `events` are to be
    fed after it, in order. `failure` is the worker's own word on why it fails, or is about to.
    """

    ready: bool = False
    stopping: bool = False
    events: tuple[Event, ...] = ()
    status: str | None = None
    failure: str | None = None
    main_pid: int | None = None
    main_id: int | None = None  # of its pidfd: inode, which no other process has (Linux 6.9)


def meaning(said: dict[str, str], path: str, incarnation: int) -> Meaning:
    """Read the assignments of one notification.

    Args:
        said: as `runtime.notify.parse` returns them.
        path: of the worker that said so.
        incarnation: of it.

    Raises:
        ProtocolError: a number is none, or out of range; then nothing of the notification counts.
    """
    events: list[Event] = []
    stopping = said.get("STOPPING") == "1"
    if stopping:
        events.append(SelfStopping(path, incarnation))
    if "EXTEND_TIMEOUT_USEC" in said:
        events.append(Extended(path, incarnation, _time_ns(said, "EXTEND_TIMEOUT_USEC")))
    if said.get("WATCHDOG") == "1":
        events.append(Beats((Beat(path, incarnation),)))
    elif said.get("WATCHDOG") == "trigger":
        events.append(Unresponsive(path, incarnation, HEARTBEAT_TIMEOUT))
    if "WATCHDOG_USEC" in said:
        endless = said["WATCHDOG_USEC"] == str(_INFINITY)
        timeout_ns = 0 if endless else _time_ns(said, "WATCHDOG_USEC")
        events.append(HeartbeatChanged(path, incarnation, timeout_ns))
    return Meaning(
        ready=said.get("READY") == "1",
        stopping=stopping,
        events=tuple(events),
        status=_status(said),
        failure=_failure(said),
        main_pid=_number(said, "MAINPID") if "MAINPID" in said else None,
        main_id=_number(said, "MAINPIDFDID") if "MAINPIDFDID" in said else None,
    )


def _status(said: dict[str, str]) -> str | None:
    if "STATUS" in said:
        return said["STATUS"][: limits.STATUS_TEXT_MAX]
    return RELOADING if said.get("RELOADING") == "1" else None


def _failure(said: dict[str, str]) -> str | None:
    if "ERRNO" in said:
        number = _number(said, "ERRNO")
        if not 0 < number <= _ERRNO_MAX:
            raise ProtocolError(f"cannot read notification: no errno: ERRNO={number}")
        return f"{os.strerror(number).lower()} (ERRNO={number})"
    for key, what in _FAILURES.items():
        if key in said:
            return f"{what}: {said[key][: limits.STATUS_TEXT_MAX]}"
    return None


def _time_ns(said: dict[str, str], key: str) -> int:
    """A time in microseconds; what is longer than any of ours is as good as that."""
    return min(_number(said, key) * limits.US, limits.DURATION_MAX_NS)


def _number(said: dict[str, str], key: str) -> int:
    text = said[key]
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        shown = text[: limits.STATUS_TEXT_MAX]
        raise ProtocolError(f"cannot read notification: no number: {key}={shown}")
    return int(text)
