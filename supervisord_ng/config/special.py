"""The kinds of values that only one or two keys take: umask, users, readiness, environment, endpoints.

Like `config.kinds`, each knows one value and nothing around it.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from supervisord_ng.config import units
from supervisord_ng.config.explain import RefusedError, did_you_mean, quoted
from supervisord_ng.config.kinds import (
    COMMAND,
    DURATION,
    FOREVER,
    SIZE,
    SWITCH,
    TEXT,
    Kind,
    OpenTable,
    array,
    pattern,
    whole,
    word_or,
    words,
)
from supervisord_ng.limits import READY_FD_MAX, SECOND
from supervisord_ng.model.spec import INFINITY, Ready

ID_MAX = 2**32 - 2  # the highest user or group id; (uid_t) -1 means "leave alone", setreuid(2)
UNLIMITED = -1  # RLIM_INFINITY, getrlimit(2)
RESERVED = "SNG_"  # the daemon's own variables in a worker's environment

# --- who and how ---------------------------------------------------------------------------------------------

_UMASK_RULE = 'must be octal digits in quotes, such as "022"'


def _umask(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise RefusedError(_UMASK_RULE, "without quotes, 22 and 0o22 are different numbers")
    if not isinstance(value, str) or re.fullmatch("[0-7]{1,4}", value) is None:
        raise RefusedError(_UMASK_RULE)
    if int(value, 8) > 0o777:
        raise RefusedError('must be at most "777"')
    return int(value, 8)


UMASK = Kind(
    _UMASK_RULE,
    _umask,
    {"type": "string", "pattern": "^0?[0-7]{1,3}$"},
    lambda mask: f"{mask:03o}",
)


def _account(must: str) -> Kind:
    def parse(value: object) -> str | int:
        if isinstance(value, str) and value and "\0" not in value:
            return value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= ID_MAX:
            return value
        raise RefusedError(must)

    name, number = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
    return Kind(must, parse, {"anyOf": [name, number]})


USER = _account("must be the name or the number of a user")
GROUP = _account("must be the name or the number of a group")
GROUPS = array(GROUP, "names or numbers of groups")


# --- environment ---------------------------------------------------------------------------------------------

_VARIABLE_RULE = "must be the name of a variable: not empty, without '='"


def check_variable(name: str) -> None:
    """Refuse what can not, or must not, be the name of an environment variable of a worker.

    Raises:
        RefusedError: empty, with '=' or NUL (environ(7)), or one of the daemon's own.
    """
    if not name or "=" in name or "\0" in name:
        raise RefusedError(_VARIABLE_RULE)
    if name.startswith(RESERVED):
        raise RefusedError(f"must not begin with {RESERVED}: the daemon sets these itself")


def _variable(value: object) -> str:
    name: str = TEXT.parse(value)
    check_variable(name)
    return name


ENVIRONMENT = OpenTable(
    _VARIABLE_RULE,
    check_variable,
    TEXT,
    {"type": "object", "additionalProperties": {"type": "string"}},
)

_VARIABLE = Kind(_VARIABLE_RULE, _variable, {"type": "string", "minLength": 1})
_VARIABLES = array(_VARIABLE, "names of variables")
_INHERIT_RULE = "must be true, false or an array of names of variables"


def _inherit(value: object) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        names: tuple[str, ...] = _VARIABLES.parse(value)
        return names
    raise RefusedError(_INHERIT_RULE)


INHERIT = Kind(_INHERIT_RULE, _inherit, {"anyOf": [SWITCH.schema, _VARIABLES.schema]})


# --- output --------------------------------------------------------------------------------------------------

STREAMS = ("log", "null", "inherit")
_STREAM_RULE = f"must be {', '.join(map(quoted, STREAMS))} or a file's path"
_STREAM_HINTS = {
    "none": "null",
    "devnull": "null",
    "discard": "null",
    "stdout": "inherit",
    "auto": "log",
}


def _stream(value: object) -> str:
    text: str = TEXT.parse(value)
    if text in STREAMS or "/" in text or "." in text:
        return text
    # A bare word is more likely a word that does not exist than a file in the tree's directory.
    ours = _STREAM_HINTS.get(text.lower())
    near = f"did you mean {quoted(ours)}?" if ours else did_you_mean(text, STREAMS)
    raise RefusedError(_STREAM_RULE, near or f"a file is written as {quoted(f'./{text}')}")


STREAM = Kind(
    _STREAM_RULE,
    _stream,
    {"anyOf": [{"enum": list(STREAMS)}, {"type": "string", "pattern": "[/.]"}]},
)


# --- endpoints and keys --------------------------------------------------------------------------------------

_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
_PORT_MAX = 65_535


def _port_checked(kind: Kind) -> Kind:
    def parse(value: object) -> str:
        text: str = kind.parse(value)
        if not 1 <= int(text.rpartition(":")[2]) <= _PORT_MAX:
            raise RefusedError(f"must have a port from 1 to {_PORT_MAX}")
        return text

    return Kind(kind.must, parse, kind.schema)


HOST_PORT = _port_checked(pattern('must be "HOST:PORT"', _HOST + r":[0-9]{1,5}"))
ENDPOINT = _port_checked(pattern('must be "tcp://HOST:PORT"', "tcp://" + _HOST + r":[0-9]{1,5}"))
LISTEN = _port_checked(
    pattern('must be "tcp://ADDRESS:PORT"', r"tcp://(\*|" + _HOST + r"):[0-9]{1,5}")
)
_URL = pattern('must be a URL such as "http://127.0.0.1:8080/health"', r"https?://[^\s/?#]+\S*")


def _url(value: object) -> str:
    text: str = _URL.parse(value)
    if not text.isascii():
        raise RefusedError("must be in ASCII", "other characters are written as %XX")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise RefusedError(f"must have a port from 1 to {_PORT_MAX}, if any") from error
    if not parts.hostname or port == 0:
        raise RefusedError(_URL.must)
    return text


URL = Kind(_URL.must, _url, _URL.schema)
_KEY = pattern(
    "must be a public key: 40 characters Z85",
    r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}",
    "`sng keygen --show` prints the one of an existing key file",
)
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def _public_key(value: object) -> str:
    """Five characters are 32 bits, rfc.zeromq.org/spec/32; libzmq refuses five that are more."""
    text: str = _KEY.parse(value)
    for group in (text[at : at + 5] for at in range(0, len(text), 5)):
        number = 0
        for character in group:
            number = number * len(_Z85) + _Z85.index(character)
        if number >= 2**32:
            raise RefusedError(_KEY.must, f"{quoted(group)} is no Z85 number; was it copied whole?")
    return text


PUBLIC_KEY = Kind(_KEY.must, _public_key, _KEY.schema)


# --- resource limits -----------------------------------------------------------------------------------------


def _cpu_seconds(value: object) -> int:
    # RLIMIT_CPU counts whole seconds; less than one would be killed at once.
    return -(-int(DURATION.parse(value)) // SECOND)


def _limit(other: Kind) -> Kind:
    return word_or(INFINITY, UNLIMITED, other, FOREVER)


LIMIT_COUNT = _limit(whole(0, 2**31 - 1))
LIMIT_SIZE = _limit(SIZE)
LIMIT_TIME = _limit(
    Kind(
        units.DURATION_RULE,
        _cpu_seconds,
        DURATION.schema,
        lambda seconds: units.format_duration(seconds * SECOND),
    )
)


# --- readiness -----------------------------------------------------------------------------------------------


def _regex(value: object) -> str:
    text: str = TEXT.parse(value)
    try:
        re.compile(text)
    except re.error as error:
        raise RefusedError(f"must be a regular expression: {error}") from error
    return text


REGEX = Kind("must be a regular expression", _regex, {"type": "string", "format": "regex"})

# The keys of a `ready` table, with the kind of model.spec.Ready that each stands for.
PROBES: dict[str, tuple[str, Kind]] = {
    "tcp": ("tcp", HOST_PORT),
    "http": ("http", URL),
    "exec": ("command", COMMAND),
    "log": ("log", REGEX),
    "fd": ("fd", whole(3, READY_FD_MAX)),  # 0, 1 and 2 are standard input, output and error
}
_READY_WORDS = words(
    ("exec", "notify", "heartbeat", "exit"),
    {
        "sd_notify": "notify",
        "simple": "exec",
        "oneshot": "exit",
        "sdk": "heartbeat",
        "beat": "heartbeat",
    },
)
_READY_RULE = f"{_READY_WORDS.must}, or a table with one of {', '.join(PROBES)}"


def _ready(value: object) -> Ready:
    if isinstance(value, dict):
        return _ready_table(value)
    try:
        word: Any = _READY_WORDS.parse(value)
    except RefusedError as refused:
        raise RefusedError(_READY_RULE, refused.hint) from refused
    return Ready(word)


def _ready_table(table: dict[str, object]) -> Ready:
    for key in table:
        if key not in PROBES:
            known = f"must be a table with one of {', '.join(PROBES)}"
            raise RefusedError(known, did_you_mean(key, PROBES))
    if len(table) != 1:
        raise RefusedError(f"must be a table with exactly one of {', '.join(PROBES)}")
    ((key, target),) = table.items()
    kind, probe = PROBES[key]
    name: Any = kind
    try:
        return Ready(name, probe.parse(target))
    except RefusedError as refused:
        found = refused.found if refused.at else target
        at = f".{key}{refused.at}"
        raise RefusedError(refused.must, refused.hint, at=at, found=found) from refused


def _ready_written(ready: Ready) -> object:
    for key, (kind, probe) in PROBES.items():
        if ready.kind == kind:
            return {key: probe.write(ready.target)}
    return ready.kind


READY = Kind(
    _READY_RULE,
    _ready,
    {
        "anyOf": [
            _READY_WORDS.schema,
            {
                "type": "object",
                "properties": {key: probe.schema for key, (_, probe) in PROBES.items()},
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
            },
        ]
    },
    _ready_written,
    _READY_WORDS.words,
)
