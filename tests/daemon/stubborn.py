"""A worker that obeys and leaves trouble behind: a deaf child, and a daemon of its own that holds its port.

Arguments: the port. Says "up" when all of it is there; exits 1 when the port is taken.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import NoReturn


def stay(ready: int) -> NoReturn:
    """Ignore what is asked."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(ready, b".")
    while True:
        signal.pause()


def main() -> None:
    """Start the family, then wait for SIGTERM and obey at once."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    read, ready = os.pipe()
    if os.fork() == 0:
        stay(ready)
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", int(sys.argv[1])))
        except OSError:
            os.write(ready, b"!")
            os._exit(1)
        listener.listen()
        stay(ready)
    os.wait()
    said = os.read(read, 1) + os.read(read, 1)
    if b"!" in said:
        sys.exit(1)
    os.write(1, b"up\n")
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
