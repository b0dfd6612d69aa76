"""Who is restarted together. supervisor(3), "Supervision Principles"."""

from __future__ import annotations

import pytest

from supervisord_ng.core.strategy import scope
from supervisord_ng.model.spec import Strategy

CHILDREN = ("a", "b", "c")


@pytest.mark.parametrize(
    ("strategy", "child", "expected"),
    [
        (Strategy.ONE_FOR_ONE, "b", ("b",)),
        (Strategy.SIMPLE_ONE_FOR_ONE, "b", ("b",)),
        (Strategy.ONE_FOR_ALL, "a", ("a", "b", "c")),
        (Strategy.ONE_FOR_ALL, "b", ("a", "b", "c")),
        (Strategy.REST_FOR_ONE, "a", ("a", "b", "c")),
        (Strategy.REST_FOR_ONE, "b", ("b", "c")),
        (Strategy.REST_FOR_ONE, "c", ("c",)),
    ],
)
def test_the_scope_is_in_start_order(
    strategy: Strategy, child: str, expected: tuple[str, ...]
) -> None:
    """The child itself is always in it."""
    assert expected == scope(strategy, CHILDREN, child)
