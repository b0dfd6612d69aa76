"""Descriptor numbers that workers want under their feet (`ready = { fd = N }`).

Popen gives a descriptor to a child under the number that it has here, and nothing but Python code between fork
and exec could change that there. So the number has to be free here for a moment. The daemon keeps the low ones,
from which everybody picks, free from its first moment on: a placeholder that is ours can be replaced by dup2(2)
without a race, where a number that is merely free could be taken meanwhile by another thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from supervisord_ng import limits
from supervisord_ng.errors import SpawnError


class _Reserve:
    """The numbers that are kept free, of the whole process; `null` is what stands there meanwhile."""

    numbers: frozenset[int] = frozenset()
    null: int


def reserve() -> None:
    """Keep the numbers 3 to `limits.READY_FD_MAX` free for workers.

    To be called once, before anything else opens anything. A number that our parent has left open
    for us stays as it is.
    """
    assert not _Reserve.numbers, "reserved twice"
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    _Reserve.null = fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, limits.READY_FD_MAX + 1)
    os.close(null)
    kept = []
    for number in range(3, limits.READY_FD_MAX + 1):
        got = fcntl.fcntl(_Reserve.null, fcntl.F_DUPFD_CLOEXEC, number)  # the lowest free one
        if got == number:
            kept.append(number)
        else:
            os.close(got)
    _Reserve.numbers = frozenset(kept)


@contextlib.contextmanager
def lent(number: int, fd: int) -> Iterator[None]:
    """Let `fd` be known as `number` as well, for as long as a process is being started.

    Raises:
        SpawnError: the number is in use here.
    """
    if number not in _Reserve.numbers:
        why = "it was open when the daemon started"
        raise SpawnError("EBUSY", f"cannot give descriptor {number} to the worker: {why}")
    os.dup2(fd, number, inheritable=False)
    try:
        yield
    finally:
        os.dup2(_Reserve.null, number, inheritable=False)
