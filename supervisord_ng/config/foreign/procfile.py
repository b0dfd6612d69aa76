"""A Procfile, as foreman and its kin run it: one command a line, in a shell."""

from __future__ import annotations

import re
from typing import Any

from supervisord_ng.config.foreign.draft import Draft

_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)")
_NEEDS_SHELL = re.compile(r"[$`|&;<>(){}*?~#!\[\]\\]|^\w+=")
_PORT_FIRST, _PORT_STEP = 5000, 100
_NOTES = (
    "Here a process that ends is restarted, and the others go on. Under foreman all would end: for that say",
    'auto_shutdown = "any_significant" in [supervisor.root], and restart = "temporary", significant = true',
    'in [defaults.worker]. Variables of .env: environment_file = ".env" in [defaults.worker].',
)


def convert(text: str) -> Draft:
    """One worker for each line, in their order, each with a $PORT of its own."""
    draft = Draft("a Procfile", *_NOTES)
    draft.defaults = {"inherit_environment": True}
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            draft.say(number, line, "this is no `name: command`")
            continue
        name, command = found.groups()
        port = _PORT_FIRST + _PORT_STEP * len(draft.workers)
        worker: dict[str, Any] = {"command": command, "environment": {"PORT": str(port)}}
        if _NEEDS_SHELL.search(command):
            worker["command"] = ["/bin/sh", "-c", _replaced(command)]
        draft.workers[draft.name(number, name)] = worker
    return draft


def _replaced(command: str) -> str:
    """With the shell out of the way where it is one plain command, so that signals reach the program."""
    is_plain = not re.search(r"[|&;<>(){}]|^\w+=|^exec\b", command)
    return f"exec {command}" if is_plain else command
