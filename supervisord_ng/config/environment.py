"""The environment of a worker: what it inherits, its user's variables, its file, its own table.

Later ones win. The daemon's own variables (SNG_*, NOTIFY_SOCKET ...) are the runtime's to add.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from supervisord_ng.config import raw
from supervisord_ng.config.environment_file import parse_lines
from supervisord_ng.config.explain import RefusedError, printable, quoted, show
from supervisord_ng.config.files import UnreadableError, read_text
from supervisord_ng.config.places import Notes, Source
from supervisord_ng.config.special import RESERVED, check_variable
from supervisord_ng.config.tables import Section
from supervisord_ng.config.units import format_size
from supervisord_ng.limits import ENVIRONMENT_BYTES_MAX

INHERITED = frozenset({"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"})
INHERITED_PREFIX = "LC_"
# Between the daemon and its own service manager; a worker that had them would speak in the daemon's name.
PRIVATE = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
)


class EnvironmentFiles:
    """The environment files of one configuration; each is read, and complained about, once."""

    def __init__(self, notes: Notes, order: int) -> None:
        self._notes = notes
        self._order = order
        self._read: dict[str, Mapping[str, str]] = {}

    def variables(self, worker: Section[raw.Worker]) -> Mapping[str, str]:
        """The variables of a worker's file, relative to the configuration file that names it."""
        name = worker.said.environment_file
        if name is None:
            return {}
        place = worker.place("environment_file")
        shown = os.path.join(os.path.dirname(place.source.shown), name)
        path = os.path.abspath(shown)
        if path not in self._read:
            try:
                text = read_text(path)
            except UnreadableError as error:
                text = f"cannot be {show(name)}: {error}: {printable(shown)}"
                worker.problem(self._notes, text, "environment_file")
                return {}
            self._read[path] = self._parse(text, Source(shown, path, self._order + len(self._read)))
        return self._read[path]

    def _parse(self, text: str, source: Source) -> Mapping[str, str]:
        variables = {}
        for line in parse_lines(text):
            if line.name is None:
                self._notes.warning_at(source, line.number, 'ignored: no "=" in this line')
            elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", line.name):
                text = f"ignored: {show(line.name)} is no name of a variable"
                self._notes.warning_at(source, line.number, text)
            elif "\0" in line.value:
                self._notes.problem_at(source, line.number, f"{line.name}: cannot contain NUL")
            else:
                try:
                    check_variable(line.name)
                    variables[line.name] = line.value
                except RefusedError as refused:
                    text = f"{line.name}: cannot be set: {refused.must}"
                    self._notes.problem_at(source, line.number, text)
        return variables


def environment_of(
    worker: Section[raw.Worker],
    environ: Mapping[str, str],
    user_variables: Mapping[str, str],
    files: EnvironmentFiles,
    notes: Notes,
) -> dict[str, str]:
    """Everything that a worker's environment has, but for what the runtime adds."""
    merged = {
        **_inherited(worker.said, environ),
        **user_variables,
        **files.variables(worker),
        **worker.said.environment,
    }
    for name, value in merged.items():
        if not _is_text(name) or not _is_text(value):
            text = f"cannot inherit {quoted(name)}: its value is not UTF-8"
            worker.problem(notes, f"{text} (set it in environment)")
    # What execve(2) copies: NAME=VALUE and a NUL for each.
    size = sum(len(os.fsencode(name + value)) + 2 for name, value in merged.items())
    if size > ENVIRONMENT_BYTES_MAX:
        text = f"cannot be larger than {format_size(ENVIRONMENT_BYTES_MAX)}, all variables together"
        worker.problem(notes, text, "environment")
    return merged


def _inherited(said: raw.Worker, environ: Mapping[str, str]) -> dict[str, str]:
    wanted = said.inherit_environment

    def is_wanted(name: str) -> bool:
        if name in PRIVATE or name.startswith(RESERVED):
            return False
        if wanted is True or name in INHERITED or name.startswith(INHERITED_PREFIX):
            return True
        return isinstance(wanted, tuple) and name in wanted

    return {name: value for name, value in environ.items() if is_wanted(name)}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate: how Python keeps bytes that are no UTF-8
        return False
    return True
