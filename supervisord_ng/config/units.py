"""Times, sizes, percentages and signals, as people write them and as numbers. Nothing else parses a unit.

Each `parse_*` takes a value as it came out of TOML and raises `RefusedError`; each `format_*` is its inverse:
what it returns is parsed to the very same number again.
"""

from __future__ import annotations

import itertools
import math
import re
import signal
from decimal import Decimal
from fractions import Fraction

from supervisord_ng.config.explain import RefusedError, nearest, quoted
from supervisord_ng.limits import KIB, MIB, MS, SECOND

DURATION_RULE = 'must be a time such as "250ms", "5s", "1m30s", "1h", or a number of seconds'
SIZE_RULE = 'must be a size such as "64K", "512M", "2G", or a number of bytes'
PERCENT_RULE = 'must be a percentage such as "50%"'
SIGNAL_RULE = 'must be a signal such as "TERM", "SIGTERM" or 15'

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_DURATION_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": MS}
_DURATION = re.compile(r"(?:(?:[0-9]+(?:\.[0-9]+)?)(?:ms|[dhms]))+", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[dhms])", re.ASCII)
_SIZE_UNITS = {"T": MIB * MIB, "G": KIB * MIB, "M": MIB, "K": KIB}  # largest first
_SIZE = re.compile(r"([0-9]+)([KMGT])", re.ASCII)
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)%", re.ASCII)
_REALTIME = re.compile(r"RT(MIN|MAX)(?:([+-])([0-9]{1,2}))?", re.ASCII)
_LENGTH_MAX = 40  # characters; longer than any number with a unit that makes sense

# How other programs abbreviate; a hint says how we do.
_FOREIGN_TIME = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_FOREIGN_TIME_UNITS = {
    "": "s",
    "ms": "ms", "msec": "ms", "msecs": "ms", "millis": "ms", "milliseconds": "ms",
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "m": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "d": "d", "day": "d", "days": "d",
}  # fmt: skip
_FOREIGN_SIZE = re.compile(r"\s*([0-9]+)\s*([KMGTkmgt])(?:i?[Bb])?\s*")


def parse_duration(value: object) -> int:
    """Nanoseconds of "250ms", "5s", "1m30s" or a bare number of seconds.

    Units are d, h, m, s and ms, each at most once, longest first; a decimal point is allowed.

    Raises:
        RefusedError: no time, or below zero, infinite or not a number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RefusedError(DURATION_RULE)
    if isinstance(value, str):
        return _duration_of(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise RefusedError(DURATION_RULE)
    if value < 0:
        raise RefusedError("must not be below zero")
    return round(Fraction(value) * SECOND)


def _duration_of(text: str) -> int:
    if len(text) > _LENGTH_MAX or _DURATION.fullmatch(text) is None:
        raise RefusedError(DURATION_RULE, _time_hint(text))
    parts = _DURATION_PART.findall(text)
    sizes = [_DURATION_UNITS[unit] for _, unit in parts]
    if any(left <= right for left, right in itertools.pairwise(sizes)):
        raise RefusedError(f"{DURATION_RULE}; each unit once, the longest first")
    return round(
        sum(Fraction(number) * size for (number, _), size in zip(parts, sizes, strict=True))
    )


def _time_hint(text: str) -> str | None:
    found = _FOREIGN_TIME.fullmatch(text[:_LENGTH_MAX])
    unit = found and _FOREIGN_TIME_UNITS.get(found[2].lower())
    return f"did you mean {quoted(found[1] + unit)}?" if found and unit else None


def format_duration(nanoseconds: int) -> str:
    """A short and exact way to write a time: "1m30s", "27.9s", "250ms", "0s"."""
    assert nanoseconds >= 0, "times of the configuration are not negative"
    if 0 < nanoseconds < SECOND:
        return f"{_decimal(nanoseconds, MS)}ms"
    rest, written = nanoseconds, ""
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE)):
        count, rest = divmod(rest, size)
        written += f"{count}{unit}" if count else ""
    return f"{written}{_decimal(rest, SECOND)}s" if rest or not written else written


def _decimal(nanoseconds: int, unit: int) -> str:
    whole, rest = divmod(nanoseconds, unit)
    digits = len(str(unit)) - 1  # the units are powers of ten
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")


def parse_size(value: object) -> int:
    """Bytes of "64K", "512M", "2G", "1T" (powers of 1024) or a bare number of bytes.

    Raises:
        RefusedError: no size, or below zero.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RefusedError(SIZE_RULE)
    if isinstance(value, str):
        found = _SIZE.fullmatch(value) if len(value) <= _LENGTH_MAX else None
        if found is None:
            raise RefusedError(SIZE_RULE, _size_hint(value))
        return int(found[1]) * _SIZE_UNITS[found[2]]
    if value < 0:
        raise RefusedError("must not be below zero")
    return value


def _size_hint(text: str) -> str | None:
    if text.isdecimal() and text.isascii() and len(text) <= _LENGTH_MAX:
        return "bytes are written without quotes"
    found = _FOREIGN_SIZE.fullmatch(text[:_LENGTH_MAX])
    return f"did you mean {quoted(found[1] + found[2].upper())}?" if found else None


def format_size(size: int) -> str | int:
    """The shortest exact way to write a size: "50M", or the number of bytes where no unit fits."""
    for unit, factor in _SIZE_UNITS.items():
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return size


def parse_percent(value: object) -> float:
    """The fraction that "50%" means, 0.5. More than "100%" is more than one of whatever is meant.

    Raises:
        RefusedError: no percentage.
    """
    written = value if isinstance(value, str) and len(value) <= _LENGTH_MAX else ""
    found = _PERCENT.fullmatch(written)
    if found is None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        raise RefusedError(PERCENT_RULE, f"did you mean {quoted(f'{value}%')}?" if number else None)
    return float(Fraction(found[1]) / 100)


def format_percent(fraction: float) -> str:
    """The shortest percentage that is parsed to this very number again."""
    percent = f"{Decimal(repr(fraction)).scaleb(2):f}"
    return f"{percent.rstrip('0').rstrip('.') if '.' in percent else percent}%"


def parse_signal(value: object) -> int:
    """The number of "TERM", "SIGTERM", "RTMIN+3" or 15. See signal(7).

    Raises:
        RefusedError: this system has no such signal.
    """
    if isinstance(value, str):
        number = _signal_named(value.removeprefix("SIG"))
        if number is None:
            raise RefusedError(SIGNAL_RULE, _signal_hint(value))
        return number
    if isinstance(value, bool) or not isinstance(value, int) or value not in signal.valid_signals():
        raise RefusedError(SIGNAL_RULE)
    return int(value)


def _signal_named(name: str) -> int | None:
    realtime = _REALTIME.fullmatch(name)
    if realtime is None:
        known = signal.Signals.__members__.get(f"SIG{name}")
        return None if known is None else int(known)
    base = signal.SIGRTMIN if realtime[1] == "MIN" else signal.SIGRTMAX
    number = base + int(f"{realtime[2] or '+'}{realtime[3] or 0}")
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else None


def _signal_hint(text: str) -> str | None:
    if text.isdecimal():
        return "numbers are written without quotes"
    names = [name.removeprefix("SIG") for name in signal.Signals.__members__]
    near = nearest(text.upper().removeprefix("SIG"), names)
    return None if near is None else f"did you mean {quoted(near)}?"


def format_signal(number: int) -> str:
    """The name of a signal without "SIG", as `parse_signal` and kill(1) take it."""
    if number in signal.Signals.__members__.values():
        return signal.Signals(number).name.removeprefix("SIG")
    return f"RTMIN+{number - signal.SIGRTMIN}"
