"""Who is asking, and whether they may: the kernel's word about the other end of the control socket.

SO_PEERCRED and SO_PEERGROUPS (unix(7), socket(7)) are the credentials at the time of connect(2), so
nobody can change or fake them, and no race with a reused pid is possible as there would be in
/proc.
"""

from __future__ import annotations

import socket
import struct

import msgspec

# asm-generic/socket.h, Linux 4.13; Python's socket module has no name for it.
_SO_PEERGROUPS = 59
_UCRED = struct.Struct("iII")  # struct ucred of unix(7): pid, uid, gid
_GROUPS_MAX = 256  # getsockopt of Python reads at most 1024 bytes, four for each group


NOBODY = 65534  # kernel.overflowgid: the group of a caller on another node means nothing here


class Caller(msgspec.Struct, frozen=True):
    """The process at the other end of a connection, as the kernel of `node` (None: this one) knows it."""

    uid: int
    gid: int
    pid: int
    node: str | None = None


class Access:
    """The rule: root, the daemon's own user, and the members of one group may act; nobody else may.

    Args:
        own_uid: the uid that the daemon runs as.
        control_group: the gid whose members may act, or None.
    """

    def __init__(self, own_uid: int, control_group: int | None) -> None:
        self._uids = frozenset((0, own_uid))
        self._group = control_group

    def allows(self, caller: Caller, groups: tuple[int, ...]) -> bool:
        """Say whether `caller`, with these supplementary groups, may act."""
        if caller.uid in self._uids:
            return True
        return self._group is not None and (caller.gid == self._group or self._group in groups)


def caller_of(connection: socket.socket) -> Caller:
    """The credentials of the process that connected."""
    pid, uid, gid = _UCRED.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    return Caller(uid=uid, gid=gid, pid=pid)


def groups_of(connection: socket.socket) -> tuple[int, ...]:
    """The supplementary groups of the process that connected.

    Empty when there are more than 256 of them, or the kernel cannot say: then only uid and primary
    group count, so that doubt is decided against the caller.
    """
    size = _GROUPS_MAX * struct.calcsize("I")
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, size)
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // struct.calcsize('I')}I", raw)
