"""The logs of workers for operators who may not read the files: read here, and sent line by line.

The files are read on threads, a bounded number of lines at a time; waiting for more costs none.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping

import msgspec

from supervisord_ng import limits
from supervisord_ng.errors import ControlError
from supervisord_ng.model.logs import text_of
from supervisord_ng.model.spec import LogSpec
from supervisord_ng.reports import logfollow


class LogItem(msgspec.Struct, frozen=True):
    """One line of output. What is not UTF-8 is replaced."""

    name: str
    line: str


async def stream(
    logs: Mapping[str, LogSpec], lines: int, *, follow: bool
) -> AsyncIterator[LogItem]:
    """Yield the last lines of every log, and then, when following, what is written.

    Args:
        logs: by the workers' names.
        lines: how many of each that are there already.
        follow: go on until whoever listens has enough.

    Raises:
        ControlError: a log can not be read.
    """
    files = {name: log.file for name, log in logs.items()}
    try:
        if not follow:
            async for name, line in _in_turns(logfollow.last(files, lines)):
                yield _item(logs[name], name, line)
            return
        follower = await asyncio.to_thread(logfollow.Follower, files, lines)
        with follower:
            while True:
                async for name, line in _in_turns(follower.read()):
                    yield _item(logs[name], name, line)
                await _something_new(follower)
    except OSError as error:
        text = f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}"
        raise ControlError("failed", text) from error


def _item(log: LogSpec, name: str, line: bytes) -> LogItem:
    text = text_of(line, is_json=log.format == "json")
    return LogItem(name, text.decode("utf-8", "replace"))


async def _in_turns(found: Iterator[tuple[str, bytes]]) -> AsyncIterator[tuple[str, bytes]]:
    """What an iterator that reads files finds, taken beside the loop."""
    while True:
        taking = asyncio.ensure_future(asyncio.to_thread(_take, found))
        try:
            some = await asyncio.shield(taking)
        finally:
            await taking  # nobody may close the files under a thread that reads them
        if not some:
            return
        for item in some:
            yield item


def _take(found: Iterator[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return list(itertools.islice(found, limits.CONTROL_STREAM_TURN))


async def _something_new(follower: logfollow.Follower) -> None:
    fd = follower.fileno()
    if fd is None:
        await asyncio.sleep(limits.LOG_POLL_S)
        return
    loop = asyncio.get_running_loop()
    readable = loop.create_future()

    def tell() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(fd, tell)
    try:
        await readable
    finally:
        loop.remove_reader(fd)
    follower.wait(0)  # takes the news off the descriptor
