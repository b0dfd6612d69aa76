"""The daemon's words to the service manager above it: sd_notify(3).

What workers say to us is another matter, `runtime.notify`. Nothing here may fail or delay the
daemon: datagrams are sent without blocking, and a send that failed is handed back for the log.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import MutableMapping

from supervisord_ng import limits

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """A way to say how the daemon is. Each message returns None, or why it was not sent.

    Args:
        address: As in $NOTIFY_SOCKET: a path, or a name in the abstract namespace behind '@'. None:
            nobody listens, and every message is a success that does nothing.
        watchdog_interval_ns: How often `watchdog` must be called; None: never.
    """

    def __init__(self, address: str | None, watchdog_interval_ns: int | None = None) -> None:
        self.watchdog_interval_ns = watchdog_interval_ns
        self._address = address
        self._socket: socket.socket | None = None
        if address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Make one from what the service manager left in `environ`, and take it out of there.

        A worker that inherited the variables would speak in the daemon's name.
        """
        address, timeout_us, pid = (environ.pop(name, None) for name in _VARIABLES)
        return cls(address or None, _watchdog_interval_ns(timeout_us, pid))

    @property
    def is_heard(self) -> bool:
        """Whether there is anybody to tell."""
        return self._socket is not None

    def ready(self, status: str) -> OSError | None:
        """The tree is up, or a reload is done."""
        return self._send("READY=1", f"STATUS={_one_line(status)}")

    def status(self, text: str) -> OSError | None:
        """One line for ``systemctl status``."""
        return self._send(f"STATUS={_one_line(text)}")

    def reloading(self, monotonic_usec: int) -> OSError | None:
        """A reload begins, at this time of CLOCK_MONOTONIC; `ready` must follow."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_usec}")

    def stopping(self) -> OSError | None:
        """The orderly stop begins."""
        return self._send("STOPPING=1")

    def watchdog(self, *, extend_by_ns: int | None = None) -> OSError | None:
        """The daemon's loop still turns.

        Args:
            extend_by_ns: while starting or stopping: this may take so much longer from now on, whatever
                TimeoutStartSec and TimeoutStopSec say.
        """
        if extend_by_ns is None:
            return self._send("WATCHDOG=1")
        return self._send("WATCHDOG=1", f"EXTEND_TIMEOUT_USEC={extend_by_ns // limits.US}")

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *assignments: str) -> OSError | None:
        if self._socket is None or self._address is None:
            return None
        if self._address[0] not in "/@":
            return OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT), self._address)
        # Not connected: the socket's owner may be restarted, and another will be bound to the same
        # address.
        abstract = self._address[0] == "@"
        address = f"\0{self._address[1:]}" if abstract else self._address
        try:
            self._socket.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            return error
        return None


def _watchdog_interval_ns(timeout_us: str | None, pid: str | None) -> int | None:
    """Half of the service manager's timeout, as sd_watchdog_enabled(3) recommends.

    None without a timeout, with one that is no positive number, or with one meant for another
    process.
    """
    if pid and pid != str(os.getpid()):
        return None
    if not timeout_us or not timeout_us.isascii() or not timeout_us.isdigit():
        return None
    return int(timeout_us) * limits.US // 2 or None


def _one_line(text: str) -> str:
    """A line feed would begin another assignment, and a longer datagram be dropped as a whole."""
    line = " ".join(text.splitlines())
    return line.encode()[: limits.STATUS_TEXT_MAX].decode(errors="ignore")
