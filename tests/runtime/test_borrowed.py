"""`runtime.borrowed`: what libzmq has accepted may be closed, or another file, at any moment."""

from __future__ import annotations

import os
import socket

from supervisord_ng.runtime import borrowed


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def test_a_socket_is_held() -> None:
    """Its other end knows nothing of who closes first."""
    ours, theirs = socket.socketpair()
    held = borrowed.hold(ours.fileno())
    ours.close()
    assert held is not None
    with held, theirs:
        held.send(b"still here")
        assert b"still here" == theirs.recv(100)


def test_nothing_else_is_and_nothing_leaks() -> None:
    """A number that nobody has, and one that is another file by now."""
    reader, writer = os.pipe()
    before = open_files()
    os.close(writer)
    assert [None, None] == [borrowed.hold(number) for number in (reader, writer)]
    assert before - 1 == open_files()
    os.close(reader)
