"""What a known mistake is; they stand in `mistakes` and `mistakes_resuming`."""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """In this module of the core, `right` becomes `wrong`."""

    module: str
    right: str
    wrong: str


class Mistake(NamedTuple):
    """What is changed, and which check is asked first, because it finds this soonest."""

    changes: tuple[Change, ...]
    first: str = "conformance"


def one(module: str, right: str, wrong: str, *, first: str = "conformance") -> Mistake:
    """A mistake in one place."""
    return Mistake((Change(module, right, wrong),), first)
