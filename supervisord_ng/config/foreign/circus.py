"""circus.ini; see "Configuration" in the manual of Circus, whose words are the keys below."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

from supervisord_ng.config.foreign.draft import Draft, Found, inside, merge, number
from supervisord_ng.config.foreign.ini import Entry, Section

_LIMITS = ("nofile", "nproc", "core", "as", "cpu", "fsize", "memlock", "stack")
_VARIABLE = re.compile(r"\$\(circus\.[\w.]+\)|\(\(circus\.[\w.]+\)\)|\$\(?[A-Za-z_][\w.]*\)?")
_WHY = {
    "max_retry": "how often is too often is said by `intensity` and `period` of the supervisor",
    "max_retry_in": "see `period` of the supervisor",
    "retry_in": "see `backoff`",
    "warmup_delay": "the next one is started when this one is ready; see `ready`",
    "use_sockets": "sockets are not opened for workers",
    "close_child_stdin": "standard input is always empty",
    "singleton": "leave `instances` away",
    "virtualenv": "name the program of the environment in `command`",
    "stderr_stream.class": "output and errors go to one log; `stderr` can name a file of its own",
    "max_age": "workers are not restarted for their age",
    "on_demand": "workers are not started by a connection",
    "send_hup": "a reload restarts what has changed",
}
_WHY_SECTION = {
    "circus": "the daemon has a Unix socket of its own, and needs none of this",
    "socket": "sockets are not opened for workers",
    "plugin": "there are no plugins; `sng events -f --json` is a stream to read",
}
_NOTES = (
    "As under circus no watcher takes another one with it: restarts are unlimited and wait ever longer.",
    'OTP\'s way is a limit: intensity = 5, period = "10s", and what is above decides.',
)


def convert(sections: list[Section]) -> Draft:
    """A flat tree of all watchers, the one with the highest priority first."""
    draft = Draft("a circus.ini", *_NOTES)
    draft.defaults = {"shutdown": "30s", "backoff": {"initial": "1s", "max": "30s"}}
    order: dict[str, int] = {}
    environments: list[tuple[list[str], dict[str, str]]] = []
    names: dict[str, str] = {}
    for section in sections:
        kind, _, name = section.name.partition(":")
        if kind == "watcher":
            legal = names[name] = draft.name(section.line, name)
            order[legal] = _watcher(draft, legal, section)
        elif kind == "env":
            patterns = [pattern.strip() for pattern in name.split(",")] if name else ["*"]
            found = {entry.key.upper(): _checked(draft, entry) for entry in section.entries}
            environments.append((patterns, found))
        else:
            why = _WHY_SECTION.get(kind, "there is no such thing here")
            draft.say(section.line, f"[{section.name}]", why)
            for entry in section.entries:
                draft.say(entry.line, entry.text, why)
    for name, legal in names.items():
        environment: dict[str, str] = {}
        for patterns, found in environments:
            if any(fnmatch(name, pattern) for pattern in patterns):
                environment |= found
        if environment:
            draft.workers[legal]["environment"] = environment
    children = sorted(order, key=lambda legal: -order[legal])
    draft.root = {"intensity": "infinity", "start_failure": "retry", "children": children}
    return draft


def _watcher(draft: Draft, legal: str, section: Section) -> int:
    """Read one [watcher:x] into a table; return its priority."""
    table: dict[str, Any] = {"command": ""}
    said = {entry.key: _checked(draft, entry) for entry in section.entries}
    for entry in section.entries:
        read = _READERS.get(entry.key)
        found = _limit(entry) if read is None else read(said[entry.key])
        if found is None:
            why = "there are no hooks" if entry.key.startswith("hooks.") else _WHY.get(entry.key)
            draft.say(entry.line, entry.text, why or "there is no such thing here")
        else:
            merge(table, found)
    command = " ".join(part for part in (said.get("cmd", ""), said.get("args", "")) if part)
    table["command"] = ["/bin/sh", "-c", command] if _is(said.get("shell", "")) else command
    if not command:
        draft.say(section.line, f"[{section.name}]", "it has no cmd")
    draft.share_no_log(table, section, "stdout_stream.filename")
    priority = table.pop("priority", 0)
    draft.workers[legal] = table
    return int(priority)


def _is(text: str) -> bool:
    return text.lower() in ("true", "yes", "on", "1")


def _stream(kind: str) -> Found:
    """Where output goes."""
    if kind.endswith("StdoutStream"):
        return {"stdout": "inherit", "stderr": "inherit"}
    return {} if kind.endswith("FileStream") else None


def _limit(entry: Entry) -> Found:
    name = entry.key.removeprefix("rlimit_")
    if name == entry.key or name not in _LIMITS or not entry.value.isdigit():
        return None
    return {"limits": {name: int(entry.value)}}


# What a key becomes, by its value; None: it can not.
_READERS: dict[str, Callable[[str], Found]] = {
    "cmd": lambda _: {},  # these three together
    "args": lambda _: {},
    "shell": lambda _: {},
    "working_dir": lambda text: {"directory": text},
    "uid": lambda text: {"user": text},
    "gid": lambda text: {"group": text},
    "numprocs": lambda text: number("instances", text, needless=1),
    "autostart": lambda text: {} if _is(text) else {"autostart": False},
    "respawn": lambda text: {} if _is(text) else {"restart": "temporary"},
    "copy_env": lambda text: {"inherit_environment": True} if _is(text) else {},
    "stop_signal": lambda text: {"stop_signal": text},
    "stop_children": lambda text: {"stop_signal_to": "all"} if _is(text) else {},
    "graceful_timeout": lambda text: {"shutdown": f"{text}s"},
    "priority": lambda text: number("priority", text),
    "stdout_stream.class": _stream,
    "stdout_stream.filename": lambda text: {"log": {"file": text}},
    "stdout_stream.max_bytes": lambda text: inside("log", number("max_bytes", text)),
    "stdout_stream.backup_count": lambda text: inside("log", number("backups", text)),
}


def _checked(draft: Draft, entry: Entry) -> str:
    """The value; says so where circus would have put something in."""
    in_shell = entry.key in ("cmd", "args")
    for variable in sorted(set(_VARIABLE.findall(entry.value))):
        if "circus." in variable:
            why = f"{variable} stays; an instance finds its number in $SNG_INSTANCE"
            draft.say(entry.line, entry.text, why)
        elif not in_shell:
            draft.say(entry.line, entry.text, f"{variable} stays; values are taken as they are")
    return entry.value
