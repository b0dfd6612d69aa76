"""The key of a node: made, kept in a file and read from there. CURVE keys (rfc.zeromq.org/spec/26), in Z85.

A secret key is one line of 40 characters in a file that nobody but its owner may read; the public key
follows from it. The arithmetic is libzmq's, which comes in when a key is made or read: this file is part
of the CLI too, which starts without it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import NamedTuple

from supervisord_ng.errors import NodeKeyError

KEY_CHARACTERS = 40  # of Z85 for 32 bytes, rfc.zeromq.org/spec/32
FILE_MODE = 0o600

_KEY = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyPair(NamedTuple):
    """Both halves of a node's key, in Z85."""

    public: str
    secret: str


def create(path: str) -> KeyPair:
    """Make a new key and write it to a file that must not exist; return it.

    Raises:
        NodeKeyError: there is such a file already, or it cannot be written.
    """
    import zmq  # noqa: PLC0415 - only who handles keys needs it

    public, secret = zmq.curve_keypair()
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise NodeKeyError(f"cannot write key file {path}: {_words(error)}") from error
    try:
        os.fchmod(file, FILE_MODE)  # whatever the umask says
        os.write(file, secret + b"\n")
        os.fsync(file)
    except OSError as error:
        os.unlink(path)  # half a key is none
        raise NodeKeyError(f"cannot write key file {path}: {_words(error)}") from error
    finally:
        os.close(file)
    return KeyPair(public.decode(), secret.decode())


def read(path: str) -> KeyPair:
    """Read the key in a file.

    Raises:
        NodeKeyError: it cannot be read, others than its owner may read or change it, or it holds no key.
    """
    import zmq  # noqa: PLC0415 - see above

    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            _check_owner(path, status)
            content = file.read(KEY_CHARACTERS + 2)
    except OSError as error:
        raise NodeKeyError(f"cannot read key file {path}: {_words(error)}") from error
    secret = content.removesuffix(b"\n")
    if _KEY.fullmatch(secret) is None:
        raise NodeKeyError(
            f"cannot use key file {path}: it must be one line of {KEY_CHARACTERS} characters Z85"
            " (`sng keygen` makes one)"
        )
    try:
        public = zmq.curve_public(secret)
    except zmq.ZMQError as error:  # Z85 that stands for more than 32 bits in one group
        raise NodeKeyError(f"cannot use key file {path}: it holds no Z85 number") from error
    return KeyPair(public.decode(), secret.decode())


def read_or_create(path: str) -> tuple[KeyPair, bool]:
    """The key in a file, and whether it was made just now because there was none.

    Raises:
        NodeKeyError: as `read` and `create`.
    """
    if os.path.lexists(path):
        return read(path), False
    return create(path), True


def _check_owner(path: str, status: os.stat_result) -> None:
    """As ssh(1) refuses its keys: what others could read is no secret."""
    if not stat.S_ISREG(status.st_mode):
        raise NodeKeyError(f"cannot use key file {path}: not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS:
        raise NodeKeyError(
            f"cannot use key file {path}: others may reach it, its mode is {mode:04o}"
            f" (it must be 0600: chmod 600 {path})"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise NodeKeyError(f"cannot use key file {path}: it belongs to user {status.st_uid}")


def _words(error: OSError) -> str:
    if error.errno == errno.EEXIST:
        return "it exists, and a key is never overwritten"
    return os.strerror(error.errno or 0).lower()
