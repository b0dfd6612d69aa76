"""The work, the same for all three programs: count the words of files that are put into a directory.

It has two bugs, so that one can see what becomes of them: a file that begins with "crash", and one that
begins with "hang".
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

SPOOL = Path(sys.argv[1] if len(sys.argv) > 1 else "spool")
PAUSE_S = 0.2  # between two looks into an empty directory
TAKEN = ".taken"


def waiting() -> list[Path]:
    """The files that nobody has taken, oldest name first."""
    SPOOL.mkdir(parents=True, exist_ok=True)
    return sorted(path for path in SPOOL.iterdir() if path.suffix != TAKEN)


def count(path: Path) -> str:
    """Take a file and count its words."""
    text = take(path)
    if text.startswith("hang"):
        wait_for_godot()
    return summary(path, text)


async def count_slowly(path: Path) -> str:
    """Likewise, with a wait in between as for a network."""
    text = take(path)
    await asyncio.sleep(0.1)
    if text.startswith("hang"):
        await an_answer_that_never_comes()
    return summary(path, text)


def take(path: Path) -> str:
    """Move a file out of the way before it is worked on: whoever dies of it has had it once."""
    taken = path.with_name(path.name + TAKEN)
    os.replace(path, taken)
    return taken.read_text()


def summary(path: Path, text: str) -> str:
    """The result."""
    if text.startswith("crash"):
        raise ValueError(f"cannot count {path.name}")
    return f"{path.name}: {len(text.split())} words"


def wait_for_godot() -> None:
    """The first kind of a hang: something that does not come."""
    while True:
        time.sleep(0.01)


async def an_answer_that_never_comes() -> None:
    """The second kind: the event loop goes round, and this goes on nowhere."""
    await asyncio.Event().wait()
