"""The words in which a wrong value is explained, and nothing else: no files, no tables, no rules.

Every message has the same shape, so that a reader knows where to look::

    KEY: cannot be FOUND: must be ALLOWED (did you mean SUGGESTION?)

`RefusedError` is how a parser of one value says the second half; whoever knows the key adds the first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

SHOWN_MAX = 60  # characters of a value that a message repeats
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_CLOSE_ENOUGH = 0.65  # of difflib's ratio: two of three letters, so that "wbe" is near "web"


class RefusedError(ValueError):
    """One value is not what its key takes.

    Attributes:
        must: completes "must be ...", or stands alone where it begins with another verb ("must not ...").
        hint: what was probably meant, as a clause without brackets, or None.
        at: the place inside of the value, such as "[2]" or ".PORT", empty for the value itself.
        found: the value at that place; only there when `at` is.
        more: what else is wrong with the same value, at other places.
    """

    def __init__(
        self, must: str, hint: str | None = None, *, at: str = "", found: object = None
    ) -> None:
        super().__init__(must)
        self.must = must
        self.hint = hint
        self.at = at
        self.found = found
        self.more: tuple[RefusedError, ...] = ()


def refusal(value: object, refused: RefusedError) -> str:
    """The message about a refused `value`, without its key."""
    found = refused.found if refused.at else value
    return with_hint(f"cannot be {show(found)}: {refused.must}", refused.hint)


def with_hint(text: str, hint: str | None) -> str:
    """`text`, and `hint` in brackets behind it if there is one."""
    return text if hint is None else f"{text} ({hint})"


def show(value: object) -> str:
    """A value as it would stand in a TOML file, shortened to what fits into a message."""
    if isinstance(value, str) and len(value) > SHOWN_MAX:
        return f"{quoted(value[:SHOWN_MAX])}..."
    text = _toml(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


def _toml(value: object) -> str:
    if isinstance(value, str):
        return quoted(value[: SHOWN_MAX + 1])
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        # A number can have thousands of digits; more than are shown need not be made.
        return f"{value:d}" if abs(value) < 10**SHOWN_MAX else f"a number above 1e{SHOWN_MAX}"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        pairs = (f"{dotted((str(name),))} = {_toml(item)}" for name, item in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return str(value)  # TOML's dates and times, in their own notation


def quoted(text: str) -> str:
    """`text` in double quotes, unprintable characters escaped as TOML and JSON do."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def printable(path: str) -> str:
    """A path as it is, or in quotes if a terminal would not show it so."""
    return path if path.isprintable() else quoted(path)


def dotted(path: Iterable[str]) -> str:
    """A key as it would stand in the file: parts that are not bare words are quoted."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else quoted(part) for part in path)


def any_of(words: Iterable[str]) -> str:
    """Words in quotes, joined for a sentence: '"a", "b" or "c"'."""
    listed = [quoted(word) for word in words]
    return " or ".join((", ".join(listed[:-1]), listed[-1])) if len(listed) > 1 else listed[0]


def plural(count: int, noun: str) -> str:
    """A count with its noun: "1 wait", "2 waits", "3 crashes"."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun}{'es' if noun.endswith('sh') else 's'}"


def did_you_mean(word: str, legal: Iterable[str]) -> str | None:
    """The question about the legal word nearest to `word`, or None if none is near."""
    near = nearest(word, legal)
    return None if near is None else f"did you mean {quoted(near)}?"


def nearest(word: str, legal: Iterable[str]) -> str | None:
    """The legal word that `word` was probably meant to be; case, '-' and '_' do not count."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a wrong file needs it

    plain = {normal(candidate): candidate for candidate in legal}
    close = get_close_matches(normal(word), plain, n=1, cutoff=_CLOSE_ENOUGH)
    return plain[close[0]] if close else None


def normal(word: str) -> str:
    """A word without what people vary: "stop-signal", "StopSignal" and "stop_signal" are one."""
    return re.sub(r"[-_ ]", "", word).lower()
