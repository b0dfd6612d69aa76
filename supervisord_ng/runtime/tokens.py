"""The tokens of workers: what an incarnation knows and nobody else, and every daemon of its state_dir can tell.

A token is made from the worker's path, the incarnation, and a key that never leaves state_dir. So the next
daemon needs no list of the tokens that are in use, and a process that shows one, in a message or in its
environment, is of that worker and that incarnation: nobody else could have made it.
"""

from __future__ import annotations

import hmac
import os
import secrets

from supervisord_ng import limits
from supervisord_ng.errors import SupervisordNGError
from supervisord_ng.model import paths

_MODE = 0o600


class Tokens:
    """Makes and recognizes tokens.

    Args:
        state_dir: of the node, whose lock is held; the key is made there at the first start.

    Raises:
        SupervisordNGError: the key can be neither read nor made.
    """

    def __init__(self, state_dir: str) -> None:
        path = os.path.join(state_dir, paths.MARK_KEY)
        try:
            self._key = _read(path) or _make(path)
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise SupervisordNGError(f"cannot use {path}: {why}") from error

    def of(self, path: str, incarnation: int) -> str:
        """The token of an incarnation of the worker at `path`: ASCII without blanks."""
        told = f"{incarnation}\0{path}".encode()
        digest = hmac.digest(self._key, told, "sha256").hex()
        return f"{incarnation}-{digest[: 2 * limits.TOKEN_BYTES]}"

    def incarnation(self, path: str, token: str) -> int | None:
        """Of which incarnation of the worker at `path` this token is; None if of none."""
        number = token.partition("-")[0]
        if not (number.isascii() and number.isdigit()):
            return None
        known = self.of(path, int(number))
        return int(number) if hmac.compare_digest(known.encode(), token.encode()) else None


def _read(path: str) -> bytes:
    """The key; empty where there is none, or a part of one: its maker was killed."""
    try:
        with open(path, "rb") as file:
            key = file.read(limits.TOKEN_KEY_BYTES + 1)
    except FileNotFoundError:
        return b""
    return key if len(key) == limits.TOKEN_KEY_BYTES else b""


def _make(path: str) -> bytes:
    key = secrets.token_bytes(limits.TOKEN_KEY_BYTES)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        os.write(fd, key)
    finally:
        os.close(fd)
    return key
