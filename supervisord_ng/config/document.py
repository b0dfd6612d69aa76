"""Which tables there are, from all files together, before anybody looks into them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from supervisord_ng.config import raw
from supervisord_ng.config.explain import RefusedError, dotted
from supervisord_ng.config.hints import unknown_key
from supervisord_ng.config.places import Notes, Place, Source

Found = tuple[object, Place]


class Document(msgspec.Struct):
    """The tables of the configuration, unread, each with its place.

    Attributes:
        sources: the files, the one that was asked for first.
        tables: by path: ("node",), ("worker", "web"), ("defaults", "worker"), in the order of the files.
    """

    sources: list[Source]
    tables: dict[tuple[str, ...], Found] = {}

    @property
    def main(self) -> Source:
        """The file that was asked for."""
        return self.sources[0]

    def named(self, scope: str) -> Iterator[tuple[str, Found]]:
        """Every table [scope.NAME] with its name."""
        for path, found in self.tables.items():
            if len(path) == 2 and path[0] == scope:
                yield path[1], found


def add_file(document: Document, source: Source, data: dict[str, object], notes: Notes) -> None:
    """Sort the tables of one file into the document. `include` is not looked at here."""
    for name, value in data.items():
        place = Place(source, (name,))
        if name not in raw.TOP_LEVEL:
            notes.problem(place, unknown_key("", name, raw.TOP_LEVEL))
        elif name in raw.SINGLE:
            _add(document, place, value, notes)
        elif name in raw.NAMED or name == "defaults":
            _add_each(document, place, value, notes)


def _add_each(document: Document, place: Place, value: object, notes: Notes) -> None:
    (scope,) = place.path
    if not isinstance(value, dict):
        form = " or ".join(f"[defaults.{one}]" for one in raw.DEFAULTED)
        must = f"must be a table: {form if scope == 'defaults' else f'[{scope}.NAME]'}"
        notes.refused(place, value, RefusedError(must))
        return
    for name, inner in value.items():
        at = place.below(name)
        if scope == "defaults" and name not in raw.DEFAULTED:
            notes.problem(at, unknown_key("defaults", name, raw.DEFAULTED))
        elif not isinstance(inner, dict):
            must = f"must be a table: [{dotted(at.path)}]"
            if scope in raw.NAMED and name in raw.keys_of(raw.NAMED[scope]):
                must = f"must be a table (the name is missing in the header: [{scope}.NAME])"
            notes.refused(at, inner, RefusedError(must))
        else:
            _add(document, at, inner, notes)


def _add(document: Document, place: Place, value: object, notes: Notes) -> None:
    if place.path in document.tables:
        _, first = document.tables[place.path]
        text = f"cannot be there twice: it is in {first} already"
        notes.problem(place, text)
        return
    document.tables[place.path] = value, place
