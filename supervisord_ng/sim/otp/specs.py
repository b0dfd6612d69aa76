"""Declarations of a scenario to the specifications that the core takes, with OTP's defaults.

Everything that only a real process needs (command, log) is a placeholder here. Expects declarations
that `validation` has nothing against.
"""

from __future__ import annotations

from supervisord_ng import limits
from supervisord_ng.model.spec import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    LaunchSpec,
    LogSpec,
    Restart,
    Shutdown,
    Strategy,
    SupervisorSpec,
    WorkerSpec,
)
from supervisord_ng.sim.otp.scenario import Book, Declaration

OTP_INTENSITY_DEFAULT = "1"  # restarts, supervisor(3), sup_flags()
OTP_PERIOD_DEFAULT = "5"  # seconds

_LAUNCH = LaunchSpec(command=("fake",))
_LOG = LogSpec(file="")


def supervisor_spec(book: Book, declared: Declaration) -> SupervisorSpec:
    """The specification of a supervisor with everything below it."""
    keys = declared.keys
    return SupervisorSpec(
        name=declared.id,
        children=tuple(child_spec(book, child) for child in book.children(declared.name)),
        strategy=Strategy(declared.strategy),
        intensity=int(keys.get("intensity", OTP_INTENSITY_DEFAULT)),
        period_ns=int(keys.get("period", OTP_PERIOD_DEFAULT)) * limits.SECOND,
        auto_shutdown=AutoShutdown(keys.get("auto_shutdown", "never")),
        restart=Restart(keys.get("restart", "permanent")),
        significant=keys.get("significant") == "true",
        shutdown=_shutdown(declared),
    )


def child_spec(book: Book, declared: Declaration) -> WorkerSpec | SupervisorSpec:
    """The specification of one child."""
    if declared.kind == "sup":
        return supervisor_spec(book, declared)
    return WorkerSpec(
        name=declared.id,
        launch=_LAUNCH,
        log=_LOG,
        restart=Restart(declared.keys.get("restart", "permanent")),
        significant=declared.keys.get("significant") == "true",
        shutdown=_shutdown(declared),
    )


def _shutdown(declared: Declaration) -> Shutdown:
    default = INFINITY if declared.child_type == "supervisor" else None
    word = declared.keys.get("shutdown", default)
    if word is None:
        return limits.SHUTDOWN_WORKER_DEFAULT_NS
    if word == INFINITY:
        return INFINITY
    if word == BRUTAL_KILL:
        return BRUTAL_KILL
    return int(word) * limits.MS
