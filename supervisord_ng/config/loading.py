"""From a path to a tree: reads the file and its includes, and raises every problem at once.

The only place that knows TOML, and, with `environment`, the only one of this package that reads the disk.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping

import msgspec
import tomli

from supervisord_ng.config import raw
from supervisord_ng.config.check import check
from supervisord_ng.config.document import Document, add_file
from supervisord_ng.config.explain import RefusedError, printable, show
from supervisord_ng.config.files import UnreadableError, read_text
from supervisord_ng.config.host import Host, this_host
from supervisord_ng.config.lines import locate
from supervisord_ng.config.places import Notes, Place, Source
from supervisord_ng.errors import ConfigError, Problem
from supervisord_ng.limits import INCLUDE_FILES_MAX
from supervisord_ng.model.spec import TreeSpec, WorkerSpec


class Loaded(msgspec.Struct, frozen=True):
    """A configuration without a problem, and what should be pointed out about it all the same."""

    tree: TreeSpec
    warnings: tuple[Problem, ...]


def load(
    path: str | os.PathLike[str],
    *,
    environ: Mapping[str, str] | None = None,
    runtime_dir: str | None = None,
    state_dir: str | None = None,
) -> Loaded:
    """Read a configuration file and build the tree that it describes.

    Args:
        path: the file; problems name it in these words.
        environ: the daemon's environment, from which directories and the workers' variables come; that of
            this process when None.
        runtime_dir: wins over the file's, for a command line that has an option for it.
        state_dir: likewise.

    Raises:
        ConfigError: with every problem of the file and its includes, in their order.
    """
    return load_on(this_host(environ), path, runtime_dir, state_dir)


def load_on(
    host: Host,
    path: str | os.PathLike[str],
    runtime_dir: str | None = None,
    state_dir: str | None = None,
) -> Loaded:
    """Read a configuration file as if on this host. See `load`."""
    notes = Notes()
    document = _read_all(os.fspath(path), notes)
    # What an unreadable file would have said is unknown, so the tree is not judged without it.
    tree = check(document, host, notes, runtime_dir, state_dir) if document else None
    if tree is None:
        raise ConfigError(notes.problems)
    return Loaded(tree, notes.warnings)


def load_worker(
    tree: TreeSpec, name: str, text: str, *, environ: Mapping[str, str] | None = None
) -> WorkerSpec:
    """Build a worker from the keys of one table, as if it stood in the file of a tree.

    Args:
        tree: whose node it will run on; relative paths are relative to its file.
        name: of the worker.
        text: TOML, what would stand below [worker.NAME].
        environ: as of `load`.

    Raises:
        ConfigError: with every problem of it.
    """
    notes = Notes()
    try:
        keys = tomli.loads(text)
        lines = {("worker", name, *path): line for path, line in locate(text).items()}
    except tomli.TOMLDecodeError as error:
        problem = f"cannot be read as TOML: {_decoded(error)}"
        notes.problem_at(Source(_TEXT, tree.source, 0), error.lineno, problem)
        raise ConfigError(notes.problems) from error
    source = Source(_TEXT, tree.source, 0, lines)
    node = {"name": tree.node.name, "log_dir": tree.node.log_dir}
    document = Document([source])
    add_file(document, source, {"node": node, "worker": {name: keys}}, notes)
    host = this_host(environ)
    made = check(document, host, notes, tree.node.runtime_dir, tree.node.state_dir)
    if made is None:
        raise ConfigError(notes.problems)
    (worker,) = made.root.children
    assert isinstance(worker, WorkerSpec), "an implicit root has workers only"
    return worker


_TEXT = "the worker's table"  # in place of the name of a file


def _read_all(shown: str, notes: Notes) -> Document | None:
    """The tables of the file and its includes; None if one of the files could not be read."""
    first = _read_file(shown, 0, notes)
    if first is None:
        return None
    source, data = first
    document = Document([source])
    add_file(document, source, data, notes)
    is_complete = True
    for path in _included(source, data, notes):
        read = _read_file(path, len(document.sources), notes)
        if read is None:
            is_complete = False
            continue
        included, data = read
        document.sources.append(included)
        if "include" in data:
            place = Place(included, ("include",))
            text = f"cannot be set in an included file: only {source.shown} may include"
            notes.problem(place, text)
        add_file(document, included, data, notes)
    return document if is_complete else None


def _read_file(shown: str, order: int, notes: Notes) -> tuple[Source, dict[str, object]] | None:
    unread = Source(shown, os.path.abspath(shown), order)
    try:
        text = read_text(shown)
    except UnreadableError as error:
        notes.problem_at(unread, None, f"cannot be read: {error}")
        return None
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        notes.problem_at(unread, error.lineno, f"cannot be read as TOML: {_decoded(error)}")
        return None
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, brackets in hundreds of brackets.
        notes.problem_at(unread, None, f"cannot be read as TOML: {error}")
        return None
    return Source(shown, unread.path, order, locate(text)), data


def _decoded(error: tomli.TOMLDecodeError) -> str:
    """What is wrong and in which column, in plainer words than the parser's where they are known."""
    for theirs, ours in _PLAIN:
        if found := theirs.fullmatch(error.msg):
            message = found.expand(ours)
            break
    else:
        message = error.msg[:1].lower() + error.msg[1:]
    return f"{message} (column {error.colno})"


_PLAIN = (
    (re.compile("Cannot overwrite a value"), "the key is there twice"),
    (re.compile(r"Cannot declare \(.*\) twice"), "the table is there twice"),
    (re.compile(r"Illegal character '\\n'"), "a string is not closed in its line"),
    (re.compile("Invalid value"), "no value that TOML knows; strings stand in quotes"),
)


def _included(main: Source, data: dict[str, object], notes: Notes) -> list[str]:
    """The files that `include` names, in its order, those of one pattern sorted, each once."""
    if "include" not in data:
        return []
    place = Place(main, ("include",))
    try:
        patterns: tuple[str, ...] = raw.INCLUDE.parse(data["include"])
    except RefusedError as refused:
        notes.refused(place, data["include"], refused)
        return []
    directory = os.path.dirname(main.shown)
    # A pattern such as "*.toml" finds the including file as well; it is not meant.
    seen = {os.path.realpath(main.path)}
    found: list[str] = []
    for pattern in patterns:
        paths = sorted(glob.glob(os.path.join(glob.escape(directory), pattern)))
        if not paths and not glob.has_magic(pattern):
            path = printable(os.path.join(directory, pattern))
            text = f"cannot be {show(pattern)}: no such file: {path}"
            notes.problem(place, f'{text} (only a pattern such as "*.toml" may find none)')
        for path in paths:
            if os.path.realpath(path) not in seen:
                seen.add(os.path.realpath(path))
                found.append(path)
    if len(found) > INCLUDE_FILES_MAX:
        text = f"cannot be {len(found)} files: must be at most {INCLUDE_FILES_MAX}"
        notes.problem(place, text)
        return []
    return found
