"""What differs between two specifications, key by key, as the file would say it.

Written for people: a key is named as in the file and its values are written as there. Of environment variables
only the names are told, because their values may be secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from supervisord_ng.config.explain import show
from supervisord_ng.config.units import (
    format_duration,
    format_percent,
    format_signal,
    format_size,
)
from supervisord_ng.model.spec import (
    ChildSpec,
    LaunchSpec,
    NodeSpec,
    ParentSpec,
    Ready,
    ReportsSpec,
)

NONE = "none"


class Key(msgspec.Struct, frozen=True):
    """One key that differs. A value that is not there is "none"."""

    key: str
    old: str
    new: str


Struct = ChildSpec | NodeSpec | ParentSpec | ReportsSpec
_APART = ("name", "children", "instance")  # who it is, not how


def keys(old: Struct, new: Struct) -> tuple[Key, ...]:
    """The keys that differ between two specifications of one thing, in the order of the reference."""
    skipped = () if isinstance(old, NodeSpec) else _APART
    return tuple(_differing(old, new, "", skipped))


def _differing(
    old: msgspec.Struct, new: msgspec.Struct, prefix: str, skipped: tuple[str, ...] = ()
) -> Iterator[Key]:
    for field in old.__struct_fields__:
        before, after = getattr(old, field), getattr(new, field)
        if before == after or field in skipped:
            continue
        key = f"{prefix}{_names(field)}"
        if field == "probe":
            key = f"{prefix}{_how(after)}"
        if isinstance(before, LaunchSpec):
            yield from _differing(before, after, prefix)
        elif isinstance(before, dict):
            yield from _of_tables(field, key, before, after)
        elif _is_table(before) and _is_table(after):
            yield from _differing(before, after, f"{key}.")
        else:
            yield Key(key, _said(field, before), _said(field, after))


def _of_tables(
    field: str, key: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Key]:
    secret = field == "environment"
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if secret:
            yield Key(
                f"{key}.{name}", _is_set(old), "another value" if old and new else _is_set(new)
            )
        else:
            yield Key(f"{key}.{name}", _plain(old), _plain(new))


def _is_set(value: str | None) -> str:
    return NONE if value is None else "set"


def _is_table(value: object) -> bool:
    return isinstance(value, msgspec.Struct) and not isinstance(value, Ready)


def _names(field: str) -> str:
    """The key of a field: units are the file's own affair, and one field has another name there."""
    return field.removesuffix("_ns")


def _said(field: str, value: Any) -> str:
    """A value as it would stand in the file."""
    if value is None:
        return '"infinity"' if field == "intensity" else NONE
    if isinstance(value, Ready):
        return _ready(value)
    if isinstance(value, msgspec.Struct):
        inner = {
            _names(name): _said(name, getattr(value, name)) for name in value.__struct_fields__
        }
        listed = ", ".join(f"{name} = {text}" for name, text in inner.items() if text != NONE)
        return f"{{ {listed} }}"
    if isinstance(value, int) and not isinstance(value, bool):
        return _NUMBERS.get(field, _duration if field.endswith("_ns") else str)(value)
    if field == "cpu_max":
        return show(format_percent(value))
    if field == "clean_signals":
        return show([format_signal(number) for number in value])
    return _plain(value)


def _ready(ready: Ready) -> str:
    if ready.target is None:
        return show(ready.kind)
    return f"{{ {_how(ready)} = {_plain(ready.target)} }}"


def _how(ready: Ready) -> str:
    return "exec" if ready.kind == "command" else ready.kind


def _plain(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, tuple):
        return show(list(value))
    return show(str(value)) if isinstance(value, str) else show(value)


def _duration(nanoseconds: int) -> str:
    return show(format_duration(nanoseconds))


_NUMBERS: dict[str, Callable[[int], str]] = {
    "shutdown": _duration,
    "stop_signal": lambda number: show(format_signal(number)),
    "umask": lambda mask: show(f"{mask:03o}"),
    "max_bytes": lambda size: show(format_size(size)),
    "memory_max": lambda size: show(format_size(size)),
    "memory_high": lambda size: show(format_size(size)),
}
