"""Reading files, with a bound, and one sentence for each way in which that can fail."""

from __future__ import annotations

import os
import stat

from supervisord_ng.config.units import format_size
from supervisord_ng.limits import CONFIG_BYTES_MAX


class UnreadableError(Exception):
    """A file can not be read; the text says why, and nothing else."""


def read_text(path: str) -> str:
    """The text of a file.

    Args:
        path: of a regular file; a pipe could keep the reader waiting for ever.

    Raises:
        UnreadableError: missing, not permitted, no regular file, too big or not UTF-8.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableError("not a regular file")
            data = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise UnreadableError((error.strerror or str(error)).lower()) from error
    if len(data) > CONFIG_BYTES_MAX:
        raise UnreadableError(f"larger than {format_size(CONFIG_BYTES_MAX)}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(
            f"not UTF-8: byte 0x{data[error.start]:02x} in line {line}"
        ) from error
