"""What an end means: the kernel's word as a reason, and whether a stopped child ended as it was asked."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from supervisord_ng.core.ends import ended_as_wanted, reason_of
from supervisord_ng.core.state import ChildState, Phase
from supervisord_ng.model.exits import (
    KILLED,
    NORMAL,
    SHUTDOWN,
    UNKNOWN,
    ExitClass,
    ExitReason,
    ExitStatus,
    abnormal,
)
from tests.core.node import worker

HUP, KILL, SEGV, TERM, USR1 = 1, 9, 11, 15, 10
N, S, K, A = ExitClass.NORMAL, ExitClass.SHUTDOWN, ExitClass.KILLED, ExitClass.ABNORMAL
TERM_REASON = ExitReason(ExitClass.SHUTDOWN_TERM, "done")


def child(*, asked: bool = False, **keys: Any) -> ChildState:
    """A worker at its end."""
    return ChildState(spec=worker("a", **keys), path="root/a", incarnation=1, asked=asked)


@pytest.mark.parametrize(
    ("how", "by_itself", "when_asked"),
    [
        (ExitStatus(code=0), N, S),
        (ExitStatus(code=1), A, A),
        (ExitStatus(code=3), N, S),  # in success_exit_codes
        (ExitStatus(code=128 + TERM), A, S),  # what a shell makes of its child's death
        (ExitStatus(signal=TERM), A, S),
        (ExitStatus(signal=HUP), N, N),  # in clean_signals
        (ExitStatus(signal=KILL), K, K),
        (ExitStatus(signal=KILL, out_of_memory=True), K, K),
        (ExitStatus(signal=SEGV, core_dumped=True), A, A),
    ],
)
def test_the_kernels_word_as_a_reason(
    how: ExitStatus, by_itself: ExitClass, when_asked: ExitClass
) -> None:
    """The whole table; SIGTERM is the stop signal."""
    keys: dict[str, Any] = {"success_exit_codes": (0, 3), "clean_signals": (HUP,)}
    assert by_itself == reason_of(child(**keys), how).kind
    assert when_asked == reason_of(child(asked=True, **keys), how).kind


def test_only_the_own_stop_signal_is_obedience() -> None:
    """A worker that is stopped by SIGUSR1 and dies of SIGTERM died of a stranger."""
    asked = child(asked=True, stop_signal=USR1)
    assert S == reason_of(asked, ExitStatus(signal=USR1)).kind
    assert S == reason_of(asked, ExitStatus(code=128 + USR1)).kind
    assert A == reason_of(asked, ExitStatus(signal=TERM)).kind


def test_exit_0_is_a_success_whatever_else_is() -> None:
    """`success_exit_codes` adds to it."""
    assert N == reason_of(child(success_exit_codes=(7,)), ExitStatus(code=0)).kind


def test_the_word_says_what_happened() -> None:
    """The text is the kernel's, whatever the class."""
    words = {
        reason_of(child(asked=asked), how).text
        for asked in (False, True)
        for how in (ExitStatus(code=0), ExitStatus(signal=TERM))
    }
    assert {"exit:0", "signal:SIGTERM"} == words


def test_want_of_memory_is_told_from_other_kills() -> None:
    """The kernel's own SIGKILL is no stranger's, and is never clean."""
    starved = ExitStatus(signal=KILL, out_of_memory=True)
    assert "oom" == reason_of(child(clean_signals=(KILL,)), starved).text


def test_who_has_judged_already_is_believed() -> None:
    """A reason goes through as it is."""
    assert TERM_REASON == reason_of(child(asked=True), TERM_REASON)


def test_an_end_that_nobody_saw() -> None:
    """A crash, unless it was wanted: then as asked, or killed once it was killed."""
    stopping = child(asked=True)
    assert UNKNOWN == reason_of(child(), UNKNOWN)
    assert SHUTDOWN == reason_of(replace(stopping, phase=Phase.STOPPING), UNKNOWN)
    assert KILLED == reason_of(replace(stopping, phase=Phase.KILLING), UNKNOWN)


ALL = ("permanent", "transient", "temporary")
SOFT = ("transient", "temporary")


@pytest.mark.parametrize(
    ("reason", "shutdown", "wanted_of"),
    [
        (SHUTDOWN, "5s", ALL),
        (SHUTDOWN, "infinity", ALL),
        (SHUTDOWN, "brutal_kill", SOFT),
        (KILLED, "brutal_kill", ALL),
        (KILLED, "5s", ()),
        (KILLED, "0s", ()),
        (NORMAL, "5s", SOFT),
        (NORMAL, "brutal_kill", SOFT),
        (TERM_REASON, "5s", SOFT),
        (TERM_REASON, "brutal_kill", SOFT),
        (abnormal("exit:1"), "5s", ()),
        (abnormal("exit:1"), "brutal_kill", ()),
    ],
)
def test_whether_it_ended_as_wanted(
    reason: ExitReason, shutdown: str, wanted_of: tuple[str, ...]
) -> None:
    """The table of supervisor.erl, shutdown/1 and do_terminate/2."""
    found = [
        restart
        for restart in ALL
        if ended_as_wanted(child(asked=True, restart=restart, shutdown=shutdown), reason)
    ]
    assert list(wanted_of) == found
