"""Tables of the file, key by key: parsed by their declaration in `config.raw`, merged with their defaults.

Knows how tables are read, not what they say: every rule about two keys is in `config.rules`. A wrong value is
one problem and then counts as absent, so that it makes no second one; `Table.is_sound` tells the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from supervisord_ng.config import raw
from supervisord_ng.config.explain import RefusedError, dotted
from supervisord_ng.config.hints import table_title, unknown_key
from supervisord_ng.config.kinds import Kind, OpenTable, SubTable
from supervisord_ng.config.places import Notes, Place

T = TypeVar("T", bound=raw.Table)
T_co = TypeVar("T_co", bound=raw.Table, covariant=True)


class Table:
    """The parsed keys of one table and where each of them stands.

    Attributes:
        place: the table itself.
        values: parsed values by key; another `Table` for a table inside.
        places: where each key stands; in another table where it comes from the defaults.
        wrong: keys that were given, and refused.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.values: dict[str, Any] = {}
        self.places: dict[str, Place] = {}
        self.wrong: set[str] = set()

    def place_of(self, key: str, *inner: str) -> Place:
        """Where a key stands; for one that was not given, the table that could have it."""
        value = self.values.get(key)
        if inner and isinstance(value, Table):
            return value.place_of(*inner)
        return self.places.get(key, self.place)

    def inner(self, key: str) -> Table | None:
        """The table inside of this one, if it was given and is one."""
        value = self.values.get(key)
        return value if isinstance(value, Table) else None

    def is_sound(self, *keys: str) -> bool:
        """Say whether none of these keys was refused, so that rules may look at them."""
        return self.wrong.isdisjoint(keys)


def read_table(
    struct: type[raw.Table], found: object, place: Place, scope: str, notes: Notes
) -> Table:
    """Parse one table.

    Args:
        struct: its declaration.
        found: what stands in the file, hopefully a table.
        place: where it stands.
        scope: its place in the schema: "worker", "worker.backoff".
        notes: takes the problems.
    """
    table = Table(place)
    if not isinstance(found, dict):
        _refuse(notes, place, found, f"must be a table: {table_title(scope)}")
        return table
    keys = raw.keys_of(struct)
    for name, value in found.items():
        at = place.below(name)
        key = keys.get(name)
        if key is None:
            notes.problem(at, unknown_key(scope, name, keys))
            continue
        table.places[name] = at
        _read_key(table, key, value, f"{scope}.{name}", notes)
    return table


def _read_key(table: Table, key: raw.Key, value: object, scope: str, notes: Notes) -> None:
    at = table.places[key.name]
    kind = key.kind
    if isinstance(kind, Kind):
        try:
            parsed = kind.parse(value)
        except RefusedError as refused:
            notes.refused(at, value, refused)
            table.wrong.add(key.name)
            return
        table.values[key.name] = parsed
    else:
        if not isinstance(value, dict):
            form = "{ KEY = VALUE, ... }" if isinstance(kind, OpenTable) else _form(kind)
            _refuse(notes, at, value, f"must be a table: {form}")
            table.wrong.add(key.name)
            return
        if isinstance(kind, SubTable):
            table.values[key.name] = read_table(kind.struct, value, at, scope, notes)
        else:
            table.values[key.name] = _read_open(kind, value, at, notes)


def _form(kind: SubTable) -> str:
    return f"{{ {', '.join(raw.keys_of(kind.struct))} }}"


def _read_open(kind: OpenTable, found: dict[str, object], place: Place, notes: Notes) -> Table:
    table = Table(place)
    for name, value in found.items():
        at = place.below(name)
        try:
            kind.name(name)
        except RefusedError as refused:
            notes.problem(at, f"cannot be set: {refused.must}")
            continue
        try:
            table.values[name] = kind.value.parse(value)
        except RefusedError as refused:
            notes.refused(at, value, refused)
        table.places[name] = at
    return table


def _refuse(notes: Notes, place: Place, value: object, must: str) -> None:
    notes.refused(place, value, RefusedError(must))


def merge(own: Table, defaults: Table | None) -> Table:
    """`own` with what only `defaults` say. Tables inside are merged key by key, other values replaced whole."""
    if defaults is None:
        return own
    merged = Table(own.place)
    merged.wrong = own.wrong | (defaults.wrong - own.places.keys())
    merged.values = {**defaults.values, **own.values}
    merged.places = {**defaults.places, **own.places}
    for key, value in own.values.items():
        theirs = defaults.values.get(key)
        if isinstance(value, Table) and isinstance(theirs, Table):
            merged.values[key] = merge(value, theirs)
    for key in own.wrong:
        merged.values.pop(key, None)
    return merged


def missing(struct: type[raw.Table], table: Table) -> Iterable[raw.Key]:
    """The required keys that a table does not have."""
    return [
        key for key in raw.keys_of(struct).values() if key.required and key.name not in table.places
    ]


def fill(struct: type[T], table: Table) -> T:
    """The struct of a table, with defaults for what is absent or wrong."""
    values: dict[str, Any] = {}
    for key in raw.keys_of(struct).values():
        if key.name in table.values:
            value = table.values[key.name]
            values[key.attribute] = (
                _fill_inner(key.kind, value) if isinstance(value, Table) else value
            )
    return struct(**values)


def _fill_inner(kind: object, table: Table) -> raw.Table | Mapping[str, Any]:
    return fill(kind.struct, table) if isinstance(kind, SubTable) else dict(table.values)


class Section(msgspec.Struct, Generic[T_co], frozen=True):
    """One [supervisor.NAME], [worker.NAME] or [remote.NAME], merged with its defaults.

    `said` has defaults in place of what is wrong: rules that look at several keys ask `table.is_sound` first.
    """

    scope: str
    name: str
    table: Table
    said: T_co

    def key(self, *path: str) -> str:
        """A key of this section for a message, and that it comes from the defaults if it does."""
        text = dotted((self.scope, self.name, *path))
        place = self.place(*path)
        is_default = place.path[:1] == ("defaults",)
        return f"{text} (from [{dotted(place.path[:2])}])" if is_default else text

    def place(self, *path: str) -> Place:
        """Where a key of this section stands, wherever that is."""
        return self.table.place_of(*path) if path else self.table.place

    def problem(self, notes: Notes, text: str, *path: str) -> None:
        """Add a problem about a key of this section, or about it as a whole."""
        notes.problem(self.place(*path), text, self.key(*path))

    def warning(self, notes: Notes, text: str, *path: str) -> None:
        """Add a warning about a key of this section, or about it as a whole."""
        notes.warning(self.place(*path), text, self.key(*path))
