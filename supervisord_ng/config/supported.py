"""What the configuration may say already although nothing does it yet. Such keys are validated, then refused.

One line each: the day a behaviour arrives, its line goes. Never is a key accepted and ignored.
"""

from __future__ import annotations

from typing import Any, Final

EVERY: Final = object()  # whatever the value

NOT_YET: tuple[tuple[str, object], ...] = (
    # table or key, the value
    ("node.on_daemon_crash", EVERY),
)


def is_not_yet(key: str) -> bool:
    """Say whether a table or key as a whole is not supported yet."""
    return (key, EVERY) in NOT_YET


def is_value_not_yet(key: str, value: Any) -> bool:
    """Say whether this parsed value of a key is not supported yet."""
    return (key, value) in NOT_YET


def words_now(key: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the legal words of a key that are supported."""
    return tuple(word for word in words if not is_value_not_yet(key, word))
