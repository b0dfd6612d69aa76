"""What several test folders share: waiting with a deadline instead of sleeping."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.005  # between two looks; short against every deadline used with it


def eventually(look: Callable[[], T], what: str, timeout_s: float = 10.0) -> T:
    """Call `look` until it returns something true; return that. Fail, naming `what`, after `timeout_s`.

    `look` may raise AssertionError or OSError while the world is not ready; the last one is shown.
    """
    deadline = time.monotonic() + timeout_s
    last: BaseException | None = None
    while True:
        try:
            found = look()
            if found:
                return found
        except (AssertionError, OSError) as error:
            last = error
        if time.monotonic() > deadline:
            message = f"not within {timeout_s} s: {what}" + (f" (last: {last})" if last else "")
            raise AssertionError(message)
        time.sleep(POLL_S)


def rounds(usual: int) -> int:
    """How often a test repeats what goes wrong only now and then; ``ROUNDS=100 make test`` asks for more."""
    return int(os.environ.get("ROUNDS", usual))


def is_alive(pid: int) -> bool:
    """Say whether a process with this id exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def running_as_root() -> bool:
    """Say whether the tests run as root."""
    return os.geteuid() == 0
