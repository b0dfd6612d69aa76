"""The words of what-if lines: names, lists, lengths of time, lines of a readable length."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from supervisord_ng.model import names
from supervisord_ng.model.spec import ChildSpec, SupervisorSpec
from supervisord_ng.model.words import Mood

_WIDTH = 100
_NAMES_SHOWN = 10
_TOLERANCE = 1e-6  # of a number that binary fractions do not hit


class Text(NamedTuple):
    """One line; `style` is one of `cli.output`."""

    text: str = ""
    style: Mood | str = "plain"


def short_names(spec: SupervisorSpec) -> dict[str, str]:
    """What to call everyone in the tree: the name, or the path where a name is there twice."""
    paths = [spec.name, *(path for path, _ in everyone(spec, spec.name))]
    times = Counter(names.leaf(path) for path in paths)
    return {path: names.leaf(path) if times[names.leaf(path)] == 1 else path for path in paths}


def duration(seconds: float) -> str:
    """A length of time, exact to the millisecond."""
    if 0 < seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    said = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if not minutes:
        return said
    hours, minutes = divmod(int(minutes), 60)
    clock = f"{hours}h{minutes}m" if hours else f"{minutes}m"
    return clock if not rest else clock + said


def rounded(seconds: float) -> str:
    """A length of time that is no longer than `seconds`, in round numbers."""
    unit = 0.001 if seconds < 1 else 0.1
    return duration(math.floor(seconds / unit + _TOLERANCE) * unit)


def count(number: int, one: str, many: str) -> str:
    """So many of something."""
    return f"{number} {one if number == 1 else many}"


def some(paths: Iterable[str], called: Mapping[str, str], and_: str = ", ") -> str:
    """The names of some children, at most so many; neighbouring instances together: "pool@1-12"."""
    listed = together([called.get(path, path) for path in paths])
    more = len(listed) - _NAMES_SHOWN
    if more > 1:
        return f"{', '.join(listed[:_NAMES_SHOWN])} and {more} more"
    return and_.join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else "".join(listed)


def together(listed: Iterable[str]) -> list[str]:
    """The names with each row of instances whose numbers follow one another as one: "pool@1-12"."""
    rows: list[list[str]] = []
    for name in listed:
        if rows and _follows(rows[-1], name):
            rows[-1].append(name)
        else:
            rows.append([name])
    return [row[0] if len(row) == 1 else f"{row[0]}-{row[-1].rpartition('@')[2]}" for row in rows]


def _follows(row: list[str], name: str) -> bool:
    """Whether `name` is the next instance, up or down as the row goes."""
    last, number = _instance(row[-1]), _instance(name)
    if last is None or number is None or last[0] != number[0]:
        return False
    step = number[1] - last[1]
    first = _instance(row[0])
    assert first is not None
    return abs(step) == 1 and (len(row) == 1 or (last[1] - first[1]) * step > 0)


def _instance(name: str) -> tuple[str, int] | None:
    base, _, number = name.rpartition("@")
    return (base, int(number)) if base and number.isdecimal() else None


def wrapped(text: str, style: Mood | str, indent: int = 0) -> Iterator[Text]:
    """Lines of a readable length."""
    for line in textwrap.wrap(text, _WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False):
        yield Text(line, style)


def everyone(spec: SupervisorSpec, path: str) -> Iterator[tuple[str, ChildSpec]]:
    """Everyone below a supervisor with this path, in tree order."""
    for child in spec.children:
        child_path = names.join(path, child.name)
        yield child_path, child
        if isinstance(child, SupervisorSpec):
            yield from everyone(child, child_path)
