"""Sockets that libzmq has accepted: known by their numbers, and closed by its own thread when it likes."""

from __future__ import annotations

import os
import socket


def hold(descriptor: int) -> socket.socket | None:
    """A descriptor of our own to whatever socket has this number now; None if it is closed, or another file.

    What is held keeps what it is. Whether it still is what was meant, the caller has to see.
    """
    try:
        own = os.dup(descriptor)
    except OSError:
        return None
    try:
        return socket.socket(fileno=own)
    except OSError:  # ENOTSOCK
        os.close(own)
        return None
