"""TOML text to frozen specifications; the only place that knows TOML.

    loading      reads the file and its includes, raises every problem at once
    lines        on which line a key stands
    document     which tables there are
    raw          every table and key: kind, default, meaning; kinds and special say how values are read
    supported    what is valid but not there yet
    tables       one table, key by key, merged with its defaults
    rules        between the keys of one table
    arrange      who is whose child
    build, node  the specifications of `model.spec`; environment and host look things up for them
    advice       warnings
    explain      the words of messages; hints knows the words of other programs
    units        times, sizes, signals
    json_schema  a JSON Schema for editors

Importing this package costs nothing until one of its names is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisord_ng.config.json_schema import schema
    from supervisord_ng.config.loading import Loaded, load

__all__ = ["Loaded", "load", "schema"]


# No module has the name of a function: importing it would put the module in the function's place.
_HOMES = {"Loaded": "loading", "load": "loading", "schema": "json_schema"}


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
