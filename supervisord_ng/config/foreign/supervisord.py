"""supervisord.conf; see "Configuration File" in Supervisor's manual, whose words are the keys below."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from supervisord_ng.config.foreign.draft import Draft, Found, inside, merge, number
from supervisord_ng.config.foreign.ini import Entry, Section

Reader = Callable[[list[Section]], Draft]

_PRIORITY_DEFAULT = 999
_EXPANSION = re.compile(r"%\((\w+)\)([sd]|\d+d)")
_ASSIGNMENT = re.compile(r"""\s*([A-Za-z_]\w*)\s*=\s*("[^"]*"|'[^']*'|[^,]*?)\s*(?:,|$)""")
_SIZE = re.compile(r"(\d+)\s*([KMG]?)B?", re.IGNORECASE)
_RESTART = {"unexpected": "transient", "true": "permanent", "false": "temporary"}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_LEVELS = {"critical": "error", "error": "error", "warn": "warning", "info": "info"}
_DEBUG = ("debug", "trace", "blather")

# What holds here without being said.
_NEEDLESS = {
    "nodaemon": "true",
    "killasgroup": "true",
    "redirect_stderr": "true",
    "silent": "false",
    "process_name": "%(program_name)s",
}
_WHY = {
    "startsecs": "a worker counts as started when exec succeeded; `ready` knows better ways",
    "startretries": "how often is too often is said by `intensity` and `period` of the supervisor",
    "process_name": "instances are called NAME@1, NAME@2 and so on",
    "numprocs_start": "instances are numbered from 1",
    "redirect_stderr": "output and errors go to one log; `stderr` can name a file of its own",
    "stderr_logfile_maxbytes": "only the log that takes both is rotated",
    "stderr_logfile_backups": "only the log that takes both is rotated",
    "stdout_events_enabled": "there are no event listeners; `sng events -f` is a stream",
    "stderr_events_enabled": "there are no event listeners; `sng events -f` is a stream",
    "stdout_syslog": "there is no syslog",
    "stderr_syslog": "there is no syslog",
    "killasgroup": "workers always end whole",
    "logfile": "the daemon's own log goes to standard error",
    "logfile_maxbytes": "the daemon's own log goes to standard error",
    "logfile_backups": "the daemon's own log goes to standard error",
    "nodaemon": "the daemon stays in the foreground; `sng service install` makes it a service",
    "pidfile": "`sng version --json` tells the pid",
    "user": "run the daemon as this user",
    "minfds": "see LimitNOFILE= of its systemd unit",
    "minprocs": "see LimitNPROC= of its systemd unit",
}
_WHY_SECTION = {
    "unix_http_server": "the daemon has a Unix socket of its own, and `control_group` in [node]",
    "inet_http_server": "the daemon is not reached over TCP; `sng --node` reaches nodes below",
    "supervisorctl": "`sng` finds the daemon by itself, or by --runtime-dir",
    "rpcinterface": "there are no RPC interfaces",
    "include": "import each of these files; a tree file has `include` as well",
    "eventlistener": "there are no event listeners; `sng events -f --json` is a stream to read",
    "fcgi-program": "sockets are not opened for workers",
}
_NOTES = (
    "As under supervisord no program takes another one with it: restarts are unlimited and wait ever longer.",
    'OTP\'s way is a limit: intensity = 5, period = "10s", and what is above decides.',
)


def convert(sections: list[Section]) -> Draft:
    """A flat tree of all programs, with a supervisor for each group."""
    draft = Draft("a supervisord.conf", *_NOTES)
    draft.defaults = {
        "inherit_environment": True,
        "shutdown": "10s",
        "restart": "transient",
        "backoff": {"initial": "1s", "max": "30s"},
    }
    order: dict[str, tuple[int, str]] = {}
    names: dict[str, str] = {}
    groups: list[Section] = []
    for section in sections:
        kind, _, name = section.name.partition(":")
        if kind == "program":
            legal = names[name] = draft.name(section.line, name)
            order[legal] = (_program(draft, legal, name, section), legal)
        elif kind == "supervisord":
            _daemon(draft, section)
        elif kind == "group":
            groups.append(section)
        else:
            why = _WHY_SECTION.get(kind, "there is no such thing here")
            draft.say(section.line, f"[{section.name}]", why)
            for entry in section.entries:
                draft.say(entry.line, entry.text, why)
    for group in groups:
        _group(draft, group, names, order)
    draft.root = _supervisor(sorted(order, key=order.__getitem__))
    return draft


def _supervisor(children: list[str]) -> dict[str, Any]:
    return {"intensity": "infinity", "start_failure": "retry", "children": children}


def _daemon(draft: Draft, section: Section) -> None:
    for entry in section.entries:
        match entry.key:
            case "identifier":
                draft.node["name"] = entry.value
            case "childlogdir":
                draft.node["log_dir"] = entry.value
            case "loglevel" if entry.value in (*_LEVELS, *_DEBUG):
                draft.node["log_level"] = _LEVELS.get(entry.value, "debug")
            case "directory" | "umask":
                draft.defaults[entry.key] = entry.value
            case "environment":
                draft.defaults["environment"] = assignments(entry.value)
            case _:
                _refuse(draft, entry)


def _group(
    draft: Draft, section: Section, names: dict[str, str], order: dict[str, tuple[int, str]]
) -> None:
    """A supervisor that stands where the most urgent of its programs stood."""
    children: list[str] = []
    priority = _PRIORITY_DEFAULT
    for entry in section.entries:
        if entry.key == "programs":
            for program in filter(None, map(str.strip, entry.value.split(","))):
                legal = names.get(program)
                if legal in order:
                    del order[legal]
                    children.append(legal)
                else:
                    draft.say(entry.line, program, "there is no such program, or it has its group")
        elif entry.key == "priority" and entry.value.isdigit():
            priority = int(entry.value)
        else:
            _refuse(draft, entry)
    if children:
        name = draft.name(section.line, section.name.partition(":")[2])
        draft.supervisors[name] = _supervisor(children)
        order[name] = (priority, name)


def _program(draft: Draft, legal: str, name: str, section: Section) -> int:
    """Read one [program:x] into the table of a worker; return its priority."""
    table: dict[str, Any] = {"command": ""}
    is_joined = any(e.key == "redirect_stderr" and _is(e.value) for e in section.entries)
    for entry in section.entries:
        read = _READERS.get(entry.key)
        found = None if read is None else read(_expanded(draft, entry, name))
        if found is None:
            _refuse(draft, entry)
        elif not (is_joined and entry.key == "stderr_logfile"):
            merge(table, found)
    if is_joined and "stdout" in table:
        table["stderr"] = table["stdout"]
    if not table["command"]:
        draft.say(section.line, f"[{section.name}]", "it has no command")
    draft.share_no_log(table, section, "stdout_logfile")
    priority = table.pop("priority", _PRIORITY_DEFAULT)
    draft.workers[legal] = table
    return int(priority)


def _expanded(draft: Draft, entry: Entry, program: str) -> str:
    """With the names put in that are known by now."""
    known = {"program_name": program, "group_name": program}
    text = _EXPANSION.sub(lambda found: known.get(found[1], found[0]), entry.value)
    if entry.key != "process_name":
        for name in sorted({found[1] for found in _EXPANSION.finditer(text)}):
            draft.say(entry.line, entry.text, _why_not_expanded(name))
    return text.replace("%%", "%")


def _is(text: str) -> bool:
    return _word(text) == "true"


def _switch(text: str, *, on: dict[str, Any], off: dict[str, Any]) -> Found:
    return {"true": on, "false": off}.get(_word(text))


def _codes(text: str) -> Found:
    if not re.fullmatch(r"[\d,\s]+", text):
        return None
    return {"success_exit_codes": [int(code) for code in re.findall(r"\d+", text)]}


def _restart(text: str) -> Found:
    word = _RESTART.get(_word(text))
    return None if word is None else {"restart": word}


def _size(text: str) -> Found:
    size = _SIZE.fullmatch(text)
    return None if size is None else {"log": {"max_bytes": f"{size[1]}{size[2].upper()}"}}


def _stdout(text: str) -> Found:
    if text.upper() == "AUTO":
        return {}
    place = _place(text)
    return {"log": {"file": text}} if place is None else {"stdout": place}


def _stderr(text: str) -> Found:
    return {} if text.upper() == "AUTO" else {"stderr": _place(text) or text}


# What a key becomes, by its value; None: it can not.
_READERS: dict[str, Callable[[str], Found]] = {
    "command": lambda text: {"command": text},
    "directory": lambda text: {"directory": text},
    "user": lambda text: {"user": text},
    "umask": lambda text: {"umask": text},
    "priority": lambda text: number("priority", text),
    "numprocs": lambda text: number("instances", text, needless=1),
    "autostart": lambda text: _switch(text, on={}, off={"autostart": False}),
    "autorestart": _restart,
    "exitcodes": _codes,
    "stopsignal": lambda text: {"stop_signal": text},
    "stopwaitsecs": lambda text: {"shutdown": f"{text}s"} if text.isdecimal() else None,
    "stopasgroup": lambda text: _switch(text, on={"stop_signal_to": "all"}, off={}),
    "environment": lambda text: {"environment": assignments(text)},
    "stdout_logfile": _stdout,
    "stderr_logfile": _stderr,
    "stdout_logfile_maxbytes": _size,
    "stdout_logfile_backups": lambda text: inside("log", number("backups", text)),
}


def assignments(text: str) -> dict[str, str]:
    """The variables of `KEY="value",KEY2=value`."""
    return {name: found.strip("\"'") for name, found in _ASSIGNMENT.findall(text)}


def _why_not_expanded(name: str) -> str:
    if name in ("process_num", "numprocs"):
        return f"%({name}) stays; an instance finds its number in $SNG_INSTANCE"
    return f"%({name}) stays; values are taken as they are"


def _word(text: str) -> str:
    lower = text.lower()
    return "true" if lower in _TRUE else "false" if lower in _FALSE else lower


def _place(text: str) -> str | None:
    """Where output goes that goes to no file."""
    if text.upper() == "NONE" or text == "/dev/null":
        return "null"
    return "inherit" if re.fullmatch(r"/dev/(stdout|stderr|fd/[12])", text) else None


def _refuse(draft: Draft, entry: Entry) -> None:
    if _word(entry.value) != _NEEDLESS.get(entry.key):
        draft.say(entry.line, entry.text, _WHY.get(entry.key, "there is no such thing here"))
