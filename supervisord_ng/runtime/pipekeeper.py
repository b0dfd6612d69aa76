"""The keeper: a small program beside the daemon that has the workers' pipes open, and nothing else to do.

The kernel forgets what is in a pipe when nobody has it open any more (pipe(7)). A worker that dies while its
daemon is dead would so take its last words with it. While this process lives they stay, and the next daemon
opens the pipe through /proc/PID/fd (proc(5)), where it may because it runs as the same user.

Run as ``python -I -S pipekeeper.py SECONDS`` with a socket (SOCK_SEQPACKET) as standard input and pipes to be
held among its descriptors. A message brings one more pipe (SCM_RIGHTS, unix(7)), or is the number of the
inode of one to be let go. Ends SECONDS after the other end was closed. Knows nothing of the package. The
other end is `runtime.keeper`.
"""

from __future__ import annotations

import array
import contextlib
import os
import resource
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator

INODE = struct.Struct("=Q")


def hold(control: socket.socket) -> None:
    """Hold what was inherited and what is sent, until the daemon is gone."""
    held = dict(_inherited())
    while True:
        message, fd = _received(control)
        if fd is not None:
            held[os.fstat(fd).st_ino] = fd
        elif len(message) == INODE.size:
            gone = held.pop(INODE.unpack(message)[0], None)
            if gone is not None:
                os.close(gone)
        elif not message:
            return


def _inherited() -> Iterator[tuple[int, int]]:
    """Pipes, by inode."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # the directory's own
            status = os.fstat(fd)
            if stat.S_ISFIFO(status.st_mode):
                yield status.st_ino, fd


def _received(control: socket.socket) -> tuple[bytes, int | None]:
    """A message and the descriptor that came with it; an empty one at the end."""
    fds = array.array("i")
    message, ancillary, _, _ = control.recvmsg(INODE.size, socket.CMSG_SPACE(fds.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data)
    return message, fds[0] if fds else None


if __name__ == "__main__":
    # As many as the daemon may ever have, whose soft limit is our own.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with socket.socket(fileno=os.dup(0)) as daemon:
        hold(daemon)
    time.sleep(int(sys.argv[1]))
