"""Where every thread of this process stands, as text; the answer to the supervisor's `dump`."""

from __future__ import annotations

import sys
import threading
import traceback

from supervisord_ng import limits


def collect() -> str:
    """Format the stacks of all threads but the calling one, the main thread first.

    A thread that holds the GIL inside of C code keeps this from running at all; then no stacks
    arrive.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to the stacks of other threads
    frames.pop(threading.get_ident(), None)
    sections: list[str] = []
    for ident in sorted(frames, key=lambda ident: (ident != main, ident)):
        lines = traceback.format_stack(frames[ident], limit=limits.STACK_FRAMES_MAX)
        sections.append(
            f"Thread {names.get(ident, ident)} (most recent call last):\n" + "".join(lines)
        )
    return "\n".join(sections)
