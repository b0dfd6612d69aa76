"""What an operator means by a PATH: a name, a path in the tree, all instances of a worker, or ``all``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from supervisord_ng.errors import ControlError
from supervisord_ng.model import names
from supervisord_ng.model.status import Row

ALL = "all"
SEE = "sng status"  # lists all names
_NEAR_MAX = 3  # names in a hint


def find(rows: tuple[Row, ...], wanted: str, see: str = SEE) -> list[Row]:
    """The rows that `wanted` names: one child, all instances of a name, or every worker for ``all``.

    The name of the root supervisor means all that is below it, other nodes included.

    `see` is where all names are listed.

    Raises:
        ControlError: not_found, with the nearest names.
    """
    if wanted in (ALL, names.ROOT):
        kinds = ("worker",) if wanted == ALL else ("worker", "remote")
        return [row for row in rows if row.kind in kinds]
    found = [row for row in rows if wanted in (row.path, row.name)]
    if not found:
        found = [
            row
            for row in rows
            if wanted in (names.base_name(row.name), _base_path(row.path)) and "@" in row.name
        ]
    if not found:
        known = sorted({row.name for row in rows} | {names.base_name(row.name) for row in rows})
        near = difflib.get_close_matches(wanted, known, n=_NEAR_MAX)
        hint = f"did you mean {' or '.join(near)}?" if near else f"see: {see}"
        raise ControlError("not_found", f"no such worker or supervisor: {wanted}", hint)
    return found


def find_all(rows: tuple[Row, ...], wanted: Iterable[str], see: str = SEE) -> list[Row]:
    """What several PATHs name, each child once, in the order of the tree."""
    paths = {row.path for one in wanted for row in find(rows, one, see)}
    return [row for row in rows if row.path in paths]


def below(rows: tuple[Row, ...], row: Row) -> list[Row]:
    """`row` and everything below it, in the order of the tree."""
    inside = f"{row.path}/"
    return [other for other in rows if other.path == row.path or other.path.startswith(inside)]


def workers(rows: tuple[Row, ...], wanted: Iterable[str], see: str = SEE) -> list[Row]:
    """The workers that several PATHs name, those below a supervisor included."""
    paths = {
        inner.path
        for row in find_all(rows, wanted, see)
        for inner in below(rows, row)
        if inner.kind == "worker"
    }
    return [row for row in rows if row.path in paths]


def _base_path(path: str) -> str:
    return names.join(names.parent(path), names.base_name(names.leaf(path)))
