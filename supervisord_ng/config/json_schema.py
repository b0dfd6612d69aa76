"""A JSON Schema of the configuration for editors, made from the declarations in `config.raw`."""

from __future__ import annotations

from typing import Any

from supervisord_ng.config import raw
from supervisord_ng.config.kinds import Kind, OpenTable, SubTable
from supervisord_ng.limits import NAME_LENGTH_MAX
from supervisord_ng.model.names import NAME_PATTERN

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_NAMES = {"pattern": f"^{NAME_PATTERN.pattern}$", "maxLength": NAME_LENGTH_MAX}


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a configuration file.

    What a schema can not say, `load` still checks: rules between keys, the shape of the tree, the host.
    """
    tables = {**raw.SINGLE, **raw.NAMED}
    properties: dict[str, Any] = {
        "include": {**raw.INCLUDE.schema, "description": "files to read as well, as patterns"},
        "defaults": {
            "type": "object",
            "description": "keys of every worker or supervisor that does not say otherwise",
            "properties": {scope: _optional(scope) for scope in raw.DEFAULTED},
            "additionalProperties": False,
        },
    }
    for scope in raw.SINGLE:
        properties[scope] = {"$ref": f"#/$defs/{scope}"}
    for scope in raw.NAMED:
        properties[scope] = {
            "type": "object",
            "propertyNames": _NAMES,
            "additionalProperties": {"$ref": f"#/$defs/{scope}"},
        }
    return {
        "$schema": DRAFT,
        "title": "supervisord-ng",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": {scope: _table(struct, scope) for scope, struct in tables.items()},
    }


def _optional(scope: str) -> dict[str, Any]:
    table = _table(raw.NAMED[scope], scope)
    table.pop("required", None)
    return table


def _table(struct: type[raw.Table], scope: str) -> dict[str, Any]:
    keys = raw.keys_of(struct)
    table: dict[str, Any] = {
        "type": "object",
        "description": struct.__doc__ or "",
        "properties": {name: _key(key, f"{scope}.{name}") for name, key in keys.items()},
        "additionalProperties": False,
    }
    if required := [name for name, key in keys.items() if key.required]:
        table["required"] = required
    return table


def _key(key: raw.Key, scope: str) -> dict[str, Any]:
    meaning = {"description": key.meaning}
    if isinstance(key.kind, SubTable):
        return {**_table(key.kind.struct, scope), **meaning}
    if isinstance(key.kind, OpenTable):
        return {**key.kind.schema, **meaning}
    return {**key.kind.schema, **meaning, **_default(key, key.kind)}


def _default(key: raw.Key, kind: Kind) -> dict[str, Any]:
    # None stands for what only the host knows, or for "not set".
    if key.required or key.default is None:
        return {}
    return {"default": kind.write(key.default)}
