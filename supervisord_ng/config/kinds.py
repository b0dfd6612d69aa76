"""The kinds of values that keys take: how one is parsed, what is allowed in words, and its JSON Schema.

A kind knows one value and nothing around it: not its key, not the rest of its table, not the host. What a
parser returns is in the units of `model.spec`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from supervisord_ng.config import units
from supervisord_ng.config.explain import (
    RefusedError,
    any_of,
    did_you_mean,
    normal,
    quoted,
    show,
)
from supervisord_ng.limits import DURATION_MAX_NS, INTENSITY_MAX
from supervisord_ng.model.spec import BRUTAL_KILL, INFINITY

Schema = Mapping[str, Any]


def _same(value: Any) -> Any:
    return value


class Kind(msgspec.Struct, frozen=True):
    """How the value of a key is read.

    Attributes:
        must: what is allowed, as "must be ...".
        parse: from a TOML value to ours; raises `RefusedError`.
        schema: the JSON Schema of the TOML value.
        write: from ours to the TOML value, for showing defaults.
        words: the legal words, where there are some.
    """

    must: str
    parse: Callable[[object], Any]
    schema: Schema
    write: Callable[[Any], Any] = _same
    words: tuple[str, ...] = ()


class SubTable(msgspec.Struct, frozen=True):
    """A key that holds a table with keys of its own, described by a struct of `config.raw`."""

    struct: type


class OpenTable(msgspec.Struct, frozen=True):
    """A key that holds a table whose keys the user invents, all with values of one kind."""

    must: str  # about the table's keys
    name: Callable[[str], None]  # raises RefusedError
    value: Kind
    schema: Schema = {}


# --- texts ---------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        scalar = isinstance(value, bool | int | float)
        raise RefusedError("must be a string", f"write {quoted(show(value))}" if scalar else None)
    if "\0" in value:
        raise RefusedError(
            "must not contain the character NUL, which ends a string in system calls"
        )
    return value


def _filled(value: object) -> str:
    text = _text(value)
    if not text:
        raise RefusedError("must not be empty")
    return text


def pattern(must: str, regex: str, hint: str | None = None) -> Kind:
    """Strings that match `regex` as a whole."""
    compiled = re.compile(regex, re.ASCII)

    def parse(value: object) -> str:
        if not isinstance(value, str) or compiled.fullmatch(value) is None:
            raise RefusedError(must, hint)
        return value

    return Kind(must, parse, {"type": "string", "pattern": f"^(?:{regex})$"})


TEXT = Kind("must be a string", _text, {"type": "string"})
PATH = Kind("must be a path", _filled, {"type": "string", "minLength": 1})


# --- words, numbers, switches --------------------------------------------------------------------------------


def words(legal: type[StrEnum] | tuple[str, ...], foreign: Mapping[str, str] | None = None) -> Kind:
    """One of a few words. `foreign` maps words of other programs, and true and false, to ours."""
    listed = tuple(str(word) for word in legal)
    meant = {normal(theirs): ours for theirs, ours in (foreign or {}).items()}
    must = f"must be {any_of(listed)}"

    def parse(value: object) -> str:
        if isinstance(value, str) and value in listed:
            return legal(value) if isinstance(legal, type) else value
        word = value if isinstance(value, str) else show(value)
        ours = meant.get(normal(word))
        hint = did_you_mean(word, listed) if ours is None else f"did you mean {quoted(ours)}?"
        raise RefusedError(must, hint)

    return Kind(must, parse, {"enum": list(listed)}, str, listed)


def whole(low: int, high: int) -> Kind:
    """Whole numbers from `low` to `high`, both included."""
    must = f"must be a whole number from {low} to {high}"

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            quotes = isinstance(value, str) and value.isdecimal()
            raise RefusedError(must, "numbers are written without quotes" if quotes else None)
        return value

    return Kind(must, parse, {"type": "integer", "minimum": low, "maximum": high})


def number(low: float, high: float) -> Kind:
    """Numbers from `low` to `high`, both included."""
    must = f"must be a number from {low:g} to {high:g}"

    def parse(value: object) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise RefusedError(must)
        return float(value)

    return Kind(must, parse, {"type": "number", "minimum": low, "maximum": high})


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        near = {"yes": "true", "on": "true", "true": "true", "1": "true"}
        near |= {"no": "false", "off": "false", "false": "false", "0": "false"}
        ours = near.get(str(value).lower())
        raise RefusedError("must be true or false", f"did you mean {ours}?" if ours else None)
    return value


SWITCH = Kind("must be true or false", _switch, {"type": "boolean"})


# --- times, sizes, percentages, signals ----------------------------------------------------------------------


def _bounded_time(value: object) -> int:
    time_ns = units.parse_duration(value)
    if time_ns > DURATION_MAX_NS:
        raise RefusedError(f"must be at most {quoted(units.format_duration(DURATION_MAX_NS))}")
    return time_ns


def _time(value: object) -> int:
    time_ns = _bounded_time(value)
    if time_ns == 0:
        raise RefusedError("must be more than zero")
    return time_ns


_NUMBER_WITH_UNIT = r"([0-9]+(\.[0-9]+)?(ms|[dhms]))+"
_TIME_SCHEMA: Schema = {
    "anyOf": [
        {"type": "string", "pattern": f"^{_NUMBER_WITH_UNIT}$"},
        {"type": "number", "minimum": 0},
    ]
}
DURATION = Kind(units.DURATION_RULE, _time, _TIME_SCHEMA, units.format_duration)

_SIZE_SCHEMA: Schema = {
    "anyOf": [{"type": "string", "pattern": "^[0-9]+[KMGT]$"}, {"type": "integer", "minimum": 0}]
}
SIZE = Kind(units.SIZE_RULE, units.parse_size, _SIZE_SCHEMA, units.format_size)


def _share(value: object) -> float:
    fraction = units.parse_percent(value)
    if fraction == 0:
        raise RefusedError("must be more than zero")
    return fraction


PERCENT = Kind(
    units.PERCENT_RULE,
    _share,
    {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"},
    units.format_percent,
)
SIGNAL = Kind(
    units.SIGNAL_RULE,
    units.parse_signal,
    {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]},
    units.format_signal,
)


def word_or(word: str, meaning: Any, other: Kind, foreign: tuple[str, ...] = ()) -> Kind:
    """One word with a meaning of its own, besides the values of `other`.

    Args:
        word: the word.
        meaning: what it is parsed to.
        other: the kind of every other value.
        foreign: what other programs write for the word, in small letters; only ever used for hints.
    """
    joint = ", " if other.words else " or "
    must = f"must be {quoted(word)}{joint}{other.must.removeprefix('must be ')}"

    def parse(value: object) -> Any:
        if value == word:
            return meaning
        try:
            return other.parse(value)
        except RefusedError as refused:
            raise RefusedError(
                must if refused.must == other.must else refused.must, hint(value, refused)
            ) from None

    def hint(value: object, refused: RefusedError) -> str | None:
        theirs = value if isinstance(value, str) else show(value)
        if theirs.lower() in foreign:
            return f"did you mean {quoted(word)}?"
        return refused.hint or did_you_mean(theirs, (word, *other.words))

    def write(value: Any) -> Any:
        return word if value == meaning else other.write(value)

    schema = {"anyOf": [{"const": word}, other.schema]}
    return Kind(must, parse, schema, write, (word, *other.words))


FOREVER = ("unlimited", "never", "none", "forever", "infinite", "inf", "-1")
_SHUTDOWN_TIME = Kind(units.DURATION_RULE, _bounded_time, _TIME_SCHEMA, units.format_duration)
SHUTDOWN: Kind = word_or(
    BRUTAL_KILL,
    BRUTAL_KILL,
    word_or(INFINITY, INFINITY, _SHUTDOWN_TIME, FOREVER),
    ("kill", "sigkill", "brutal"),
)
INTENSITY: Kind = word_or(INFINITY, None, whole(0, INTENSITY_MAX), FOREVER)


# --- arrays --------------------------------------------------------------------------------------------------


def array(item: Kind, noun: str) -> Kind:
    """An array of `noun`, each an `item`."""
    must = f"must be an array of {noun}"

    def parse(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise RefusedError(must, _as_array(value))
        parsed, wrong = [], []
        for index, one in enumerate(value):
            try:
                parsed.append(item.parse(one))
            except RefusedError as refused:
                at = f"[{index}]"
                wrong.append(RefusedError(refused.must, refused.hint, at=at, found=one))
        if wrong:
            wrong[0].more = tuple(wrong[1:])
            raise wrong[0]
        return tuple(parsed)

    def _as_array(value: object) -> str | None:
        try:
            item.parse(value)
        except RefusedError:
            return None
        return f"write [{show(value)}]"

    def write(value: tuple[Any, ...]) -> list[Any]:
        return [item.write(one) for one in value]

    return Kind(must, parse, {"type": "array", "items": item.schema}, write)


def _command(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise RefusedError(f"must be split as a shell would: {str(error).lower()}") from error
    if not isinstance(value, list):
        raise RefusedError(_COMMAND_RULE)
    argv: tuple[str, ...] = array(TEXT, "strings").parse(value)
    if not argv or not argv[0]:
        raise RefusedError("must name a program")
    return argv


_COMMAND_RULE = "must be an array of strings, or a string that is split as a shell would"
COMMAND = Kind(
    _COMMAND_RULE,
    _command,
    {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
        ]
    },
    list,
)
