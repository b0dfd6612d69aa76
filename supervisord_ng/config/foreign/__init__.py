"""Configurations of other process managers as a tree file: supervisord.conf, circus.ini, a Procfile.

What behaves the same is carried over, what is not is named with its line and the reason: a key that is
silently dropped is found out at the worst moment. Text in, text out; nothing is read or written here.

    ini          sections and keys with the lines where they stand
    draft        the tree that is being made, and how it looks in TOML
    supervisord, circus, procfile   one reader each
"""

from __future__ import annotations

import os

from supervisord_ng.config.foreign import circus, procfile, supervisord
from supervisord_ng.config.foreign.draft import Draft, Problem
from supervisord_ng.config.foreign.ini import Section, read
from supervisord_ng.errors import SupervisordNGError

__all__ = ["Draft", "Problem", "convert"]


def convert(path: str, text: str) -> Draft:
    """Make a tree of a foreign configuration; of which kind its name and its sections tell.

    Args:
        path: of the file; only its names are looked at.
        text: what is in it.

    Raises:
        SupervisordNGError: it is none of those that are known, or nothing to run is in it.
    """
    name = os.path.basename(path)
    if name.startswith("Procfile") or name.endswith(".procfile"):
        draft = procfile.convert(text)
    else:
        sections = read(path, text)
        draft = _reader(path, sections)(sections)
    if not draft.workers:
        raise SupervisordNGError(f"cannot import {path}: nothing to run is in it")
    return draft


def _reader(path: str, sections: list[Section]) -> supervisord.Reader:
    kinds = {section.name.partition(":")[0] for section in sections}
    if kinds & {"supervisord", "program", "group", "unix_http_server", "fcgi-program"}:
        return supervisord.convert
    if kinds & {"circus", "watcher"}:
        return circus.convert
    raise SupervisordNGError(
        f"cannot import {path}: neither supervisord's nor circus' sections are in it"
        " (a Procfile is known by its name)"
    )
