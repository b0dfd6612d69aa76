"""The line about the tree that ``systemctl status`` shows."""

from __future__ import annotations

from supervisord_ng.daemon.announcer import tree_line
from supervisord_ng.model.status import Row, State


def row(name: str, state: State) -> Row:
    """A worker below root."""
    return Row(
        path=f"root/{name}",
        name=name,
        kind="worker",
        supervisor="root",
        state=state,
        ready=state is State.RUNNING,
        incarnation=1,
    )


def test_what_is_as_it_should_be_goes_without_saying() -> None:
    """A worker that has ended as it may is no news."""
    rows = [row("web", State.RUNNING), row("migrate", State.EXITED)]
    assert "1 of 2 workers running" == tree_line(rows)


def test_the_worst_comes_first_and_three_of_each_are_named() -> None:
    """A line is a line, however many workers are down."""
    down = [row(f"resize@{number}", State.BACKOFF) for number in range(1, 6)]
    rows = [row("web", State.STOPPED), *down, row("queue", State.FAILED)]

    said = tree_line(rows)

    waiting = "root/resize@1, root/resize@2, root/resize@3 and 2 more"
    assert said == (
        f"0 of 7 workers running; failed: root/queue; backoff: {waiting}; stopped: root/web"
    )
