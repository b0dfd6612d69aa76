"""The life of a child is a whole table: every happening in every phase is answered, or refused loudly."""

from __future__ import annotations

import pytest

from supervisord_ng.core import child as life
from supervisord_ng.core import events
from supervisord_ng.core.child import HAPPENINGS, TABLE, DeadlineReached, Happening
from supervisord_ng.core.events import (
    BecameReady,
    Dumped,
    Emptied,
    Exited,
    Extended,
    HeartbeatChanged,
    Ignored,
    MainChanged,
    SelfStopping,
    Spawned,
    SpawnFailed,
    Unresponsive,
)
from supervisord_ng.core.state import Phase
from supervisord_ng.core.turn import Turn
from tests.core.node import NOPE, Node, supervisor, worker

ANSWERS: set[type[Happening]] = {Spawned, SpawnFailed, Ignored}  # to Spawn
WORDS: set[type[Happening]] = {
    BecameReady,
    Unresponsive,
    Dumped,
    HeartbeatChanged,
    Extended,
    SelfStopping,
    MainChanged,
}
REFUSED: dict[Phase, set[type[Happening]]] = {
    Phase.DOWN: {*ANSWERS, Exited, Emptied, DeadlineReached},
    Phase.SPAWNING: {Exited, Emptied, DeadlineReached},
    Phase.STARTING: {*ANSWERS, Emptied},
    Phase.RUNNING: {*ANSWERS, Emptied},
    Phase.DUMPING: {*ANSWERS, Emptied},
    Phase.STOPPING: ANSWERS,
    Phase.KILLING: ANSWERS,
    Phase.LOST: {*ANSWERS, *WORDS, Emptied, DeadlineReached},
}
"""What cannot be: an answer nobody waits for, an end of what is not there, a time nobody set."""


def test_the_table_is_whole() -> None:
    """Every phase has an entry for every happening."""
    assert set(Phase) == set(TABLE)
    for phase in Phase:
        assert set(HAPPENINGS) == set(TABLE[phase]), phase


@pytest.mark.parametrize("phase", Phase)
def test_what_is_refused_in_a_phase(phase: Phase) -> None:
    """Exactly what cannot happen in it."""
    refused = {what for what, entry in TABLE[phase].items() if entry is life._never}
    assert REFUSED[phase] == refused


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.LOST])
def test_words_of_a_worker_may_be_late(phase: Phase) -> None:
    """What was on its way when the phase changed is never an error."""
    assert all(TABLE[phase][word] is not life._never for word in WORDS)


@pytest.mark.parametrize(
    "event",
    [
        events.Spawned("root/a", 1, 7),
        events.SpawnFailed("root/a", 1, NOPE),
        events.Ignored("root/a", 1),
        events.Emptied("root/a", 1),
    ],
)
def test_a_refusal_names_phase_event_and_path(event: events.Event) -> None:
    """Going on would hide a bug of whoever says so: the step fails."""
    node = Node(supervisor("root", worker("a")))
    said = rf"^{type(event).__name__} for root/a #1 in phase running$"
    with pytest.raises(AssertionError, match=said):
        node.happens(event)


def test_emptied_before_the_main_process_ended_is_refused() -> None:
    """Nothing can be left over from what is still whole."""
    node = Node(supervisor("root", worker("a")))
    node.deaf("root/a")
    node.call("terminate_child", "root/a")
    with pytest.raises(AssertionError, match="emptied before its main process exited"):
        node.happens(events.Emptied("root/a", 1))


def test_a_supervisor_gives_no_order_to_what_is_not_there() -> None:
    """Starting what lives, or asking what is dead, is a bug of ours."""
    node = Node(supervisor("root", worker("a"), worker("b", restart="transient")))
    turn = Turn(node.state, node.now)
    with pytest.raises(AssertionError, match="root/a"):
        life.start(turn, turn.living_child("root/a"), automatic=False)
    node.ask("terminate_child", "root/a")
    turn = Turn(node.state, node.now)
    with pytest.raises(AssertionError, match="root/a"):
        life.ask_stop(turn, turn.living_child("root/a"))
