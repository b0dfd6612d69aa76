"""Who guards the guards: break the core in known ways, one at a time, and see that somebody notices."""

from __future__ import annotations

import random
import sys

import pytest

from tests.core import plant
from tests.core.mistake import Change
from tests.core.mistakes import MISTAKES
from tests.support import rounds


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_fits_the_core(name: str) -> None:
    """What it replaces stands in the core exactly once, and what comes of it is still Python."""
    changes = MISTAKES[name].changes
    for module in {change.module for change in changes}:
        compile(plant.source(module, changes), module, "exec")


def test_what_is_not_there_cannot_be_planted() -> None:
    """A mistake that the core has outgrown is an error."""
    with pytest.raises(ValueError, match=r"stands 0 times in core/strategy\.py"):
        plant.source("strategy", [Change("strategy", "no such words", "")])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mistakes_are_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    """By the traces of Erlang, the naive model or the simulator; and none of them minds the core as it is.

    A few each time, drawn by the seed that pytest prints; ``python -m tests.core.plant`` tries all.
    """
    drawn = random.sample(sorted(MISTAKES), min(rounds(usual=16), len(MISTAKES)))
    finds = plant.examine([plant.INTACT, *drawn])
    with capsys.disabled():
        sys.stdout.write(f"\n{plant.table(finds)}\n")
    assert [plant.INTACT] == [name for name, found in finds.items() if not found]
