"""How a child ended, and what OTP makes of it.

`ExitStatus` is what the kernel says (wait(2)); `ExitReason` is what a supervisor decides by. The core turns
one into the other (`core.child`), because only it knows whether the end was asked for.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from supervisord_ng import limits


class ExitClass(StrEnum):
    """What kind of end it was; the columns of the table in supervisor(3), "restart type x exit reason"."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    SHUTDOWN_TERM = "shutdown_term"  # OTP's {shutdown, Term}
    KILLED = "killed"  # untrappable, by the supervisor or by a stranger
    ABNORMAL = "abnormal"


class ExitReason(msgspec.Struct, frozen=True, tag="reason"):
    """Why a child ended. `text` is the stable word of the reference: ``exit:1``, ``signal:SIGSEGV``, ..."""

    kind: ExitClass
    text: Annotated[
        str, msgspec.Meta(max_length=limits.REASON_MAX, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")
    ]

    @property
    def is_abnormal(self) -> bool:
        """OTP: anything but normal, shutdown and {shutdown, Term}."""
        return self.kind is ExitClass.KILLED or self.kind is ExitClass.ABNORMAL


class ExitStatus(msgspec.Struct, frozen=True, tag="status"):
    """What wait(2) said. Exactly one of `code` (0 to 255) and `signal` (1 to 64) is not None.

    `out_of_memory`: the SIGKILL was the kernel's, because the worker's cgroup had no memory left.
    """

    code: int | None = None
    signal: int | None = None
    core_dumped: bool = False
    out_of_memory: bool = False


NORMAL = ExitReason(ExitClass.NORMAL, "normal")
SHUTDOWN = ExitReason(ExitClass.SHUTDOWN, "shutdown")
KILLED = ExitReason(ExitClass.KILLED, "killed")
OOM = ExitReason(ExitClass.KILLED, "oom")
HEARTBEAT_TIMEOUT = ExitReason(ExitClass.ABNORMAL, "heartbeat_timeout")
LIVENESS = ExitReason(ExitClass.ABNORMAL, "liveness")
NOCONNECTION = ExitReason(ExitClass.ABNORMAL, "noconnection")
UNKNOWN = ExitReason(ExitClass.ABNORMAL, "unknown")
REACHED_MAX_RESTART_INTENSITY = ExitReason(ExitClass.ABNORMAL, "reached_max_restart_intensity")


def abnormal(text: str) -> ExitReason:
    """An abnormal reason with this word."""
    return ExitReason(ExitClass.ABNORMAL, text)


def start_failed(why: str) -> ExitReason:
    """The reason of a start that did not come to an end: ``start_failed:ENOENT``, ``start_failed:timeout``."""
    return ExitReason(ExitClass.ABNORMAL, f"start_failed:{why}")


# The numbers of Linux' generic ABI, signal(7); here because the core may not ask the operating system.
_SIGNALS = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN "
    "TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split()
SIGKILL = 9


def signal_name(number: int) -> str:
    """The name of a signal: ``signal_name(15) == "SIGTERM"``; real-time ones count from SIGRTMIN."""
    if 1 <= number <= len(_SIGNALS):
        return f"SIG{_SIGNALS[number - 1]}"
    return f"SIGRTMIN+{number - 34}" if number >= 34 else f"SIG{number}"


def status_text(status: ExitStatus) -> str:
    """The stable word for what wait(2) said: ``exit:1``, ``signal:SIGKILL``."""
    if status.signal is not None:
        return f"signal:{signal_name(status.signal)}"
    return f"exit:{status.code}"
