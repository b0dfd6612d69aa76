"""What a daemon hands to the one that it becomes by exec(2): its locks, its environment, its signals.

Everything else passes through the directories: what runs by the journal, output by the pipes. The locks must
not, because between letting go and taking again another daemon could come in. Signals are blocked meanwhile, so
that one which comes between two programs waits for the second, instead of ending it before it can listen.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, MutableMapping
from typing import NoReturn

import msgspec

from supervisord_ng.runtime import signals

_HELD = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGQUIT,
)

VARIABLE = "SNG_HANDOVER"
"""Of the environment; for us alone, so it is taken out of there before anybody is started."""


class _Handed(msgspec.Struct, frozen=True):
    """What stands in the variable."""

    locks: tuple[int, ...]
    signals: tuple[int, ...] = ()


class Handover:
    """Of this process, from its first moment.

    Args:
        environ: as we were started with it.
        locks: descriptors of locks that are held already.
        held: signals that came while we were becoming what we are.
        is_upgrade: whether we have been a daemon before.

    Attributes:
        environ: see above, for whoever is started as we were.
    """

    def __init__(
        self,
        environ: dict[str, str],
        locks: tuple[int, ...] = (),
        held: Iterable[int] = (),
        *,
        is_upgrade: bool = False,
    ) -> None:
        self.locks = locks
        self.is_upgrade = is_upgrade
        self._held = list(held)
        self.environ = environ

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Handover:
        """What we were handed. To be called before anybody changes `environ`."""
        told = environ.pop(VARIABLE, None)
        kept = dict(environ)
        if told is None:
            return cls(kept)
        handed = msgspec.json.decode(told, type=_Handed)
        for fd in handed.locks:
            os.set_inheritable(fd, False)
        return cls(kept, handed.locks, handed.signals, is_upgrade=True)

    def hold_signals(self) -> None:
        """Let signals in that were blocked while we became what we are, and keep them for `release_signals`."""
        if self.is_upgrade:
            for number in _HELD:
                signal.signal(number, lambda number, _frame: self._held.append(number))
            signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def release_signals(self) -> None:
        """Whoever handles signals does so now: send again what has come before."""
        held, self._held = self._held, []
        for number in dict.fromkeys(held):
            os.kill(os.getpid(), number)

    def become_next(self, locks: Iterable[int]) -> NoReturn:
        """Be replaced by what the same command line starts now. All other descriptors are closed by that.

        Raises:
            OSError: there is no such program any more.
        """
        kept = list(locks)
        for fd in kept:
            os.set_inheritable(fd, True)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        came = tuple(number for number in signals.undelivered() if number in _HELD)
        handed = msgspec.json.encode(_Handed(tuple(kept), came)).decode()
        environ = self.environ | {VARIABLE: handed}
        os.execve(sys.executable, command(), environ)  # noqa: S606 - no shell is wanted


def command(*more: str) -> list[str]:
    """Our own command line, with `more` behind it."""
    return [sys.executable, *sys.orig_argv[1:], *more]
