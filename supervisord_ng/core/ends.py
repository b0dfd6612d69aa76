"""What an end means: the kernel's word as OTP's exit reason, and whether a stopped child ended as asked."""

from __future__ import annotations

from supervisord_ng.core.state import ChildState, Phase
from supervisord_ng.model.exits import (
    KILLED,
    OOM,
    SHUTDOWN,
    SIGKILL,
    UNKNOWN,
    ExitClass,
    ExitReason,
    ExitStatus,
    abnormal,
    status_text,
)
from supervisord_ng.model.spec import BRUTAL_KILL, Restart, WorkerSpec


def reason_of(child: ChildState, how: ExitStatus | ExitReason) -> ExitReason:
    """What an end means: of the design's mapping of OS processes to OTP's exit reasons.

    Exit 0 or a code of `success_exit_codes` is normal; while it is being stopped these, and death by the stop
    signal, are shutdown. SIGKILL is killed, and oom where the kernel did it for want of memory. Any other
    signal is a crash unless listed in `clean_signals`.
    """
    if isinstance(how, ExitReason):
        if how != UNKNOWN or not child.asked:
            return how
        # Its end was wanted and came, and nobody saw how: as far as we know by what we did last.
        return KILLED if child.phase is Phase.KILLING else SHUTDOWN
    assert isinstance(child.spec, WorkerSpec)
    if how.out_of_memory:
        return OOM
    text = status_text(how)
    stop_signal = child.spec.stop_signal
    if how.signal is not None:
        if child.asked and how.signal == stop_signal:
            return ExitReason(ExitClass.SHUTDOWN, text)
        if how.signal in child.spec.clean_signals:
            return ExitReason(ExitClass.NORMAL, text)
        return ExitReason(ExitClass.KILLED, text) if how.signal == SIGKILL else abnormal(text)
    if how.code == 0 or how.code in child.spec.success_exit_codes:
        return ExitReason(ExitClass.SHUTDOWN if child.asked else ExitClass.NORMAL, text)
    if child.asked and how.code == 128 + stop_signal:  # what a shell makes of a signal
        return ExitReason(ExitClass.SHUTDOWN, text)
    return abnormal(text)


def ended_as_wanted(child: ChildState, reason: ExitReason) -> bool:
    """Whether a stopped child ended as asked: the table of supervisor.erl, shutdown/1 and do_terminate/2.

    | ended with           | permanent | transient, temporary |
    | shutdown             | ok (after asking), error (after brutal_kill) | ok |
    | killed               | ok after brutal_kill, else error | the same |
    | normal, {shutdown,T} | error | ok |
    | anything else        | error | error |
    """
    permanent = child.spec.restart is Restart.PERMANENT
    brutal = child.spec.shutdown == BRUTAL_KILL
    if reason.kind is ExitClass.SHUTDOWN:
        return not (permanent and brutal)
    if reason.kind is ExitClass.KILLED:
        return brutal
    if reason.kind in (ExitClass.NORMAL, ExitClass.SHUTDOWN_TERM):
        return not permanent
    return False
