"""The daemon's end of the control socket: lines in, answers and streams out.

The protocol is described in docs/control-protocol.md. What a verb does is the business of the
`handle` that is plugged in. Here is who may speak, how much, and what becomes of a caller who talks
rubbish, reads slowly or goes away. Nothing here wakes up by itself: without a client there is no
timer and no system call.

Everything that a client can make us keep has a bound in `limits`: connections, requests in
progress, the length of a line, the bytes it has not read yet, the answers remembered.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from supervisord_ng import limits
from supervisord_ng.control.access import Access, Caller, caller_of, groups_of
from supervisord_ng.control.answers import Answers
from supervisord_ng.control.connection import Connection, report_failure
from supervisord_ng.control.lines import bad_request, line_of, refused
from supervisord_ng.errors import ControlError
from supervisord_ng.model.messages import Request

Handle = Callable[[Caller, Request], Awaitable[Any] | AsyncIterator[Any]]

READING_VERBS = frozenset(
    {
        "status",
        "version",
        "events",
        "events.record",
        "logs",
        "logs.files",
        "nodes",
        "usage",
        "crashes.list",
        "crashes.show",
        "crashes.stats",
        "diff",
    }
)
"""Verbs that change nothing: to do one twice does no harm, so the answers are not remembered."""

STREAMING_VERBS = frozenset({"events", "events.record", "logs"})
"""Verbs that are answered by a stream of items."""


class ControlServer:
    """Answers operators on a Unix stream socket.

    The caller holds the lock of the runtime directory: a socket that lies at `path` is a leftover.

    Args:
        path: of the socket, at most 107 bytes.
        handle: what to do for a request. It returns an awaitable for one result, or an
            asynchronous iterator for a stream; both of values that msgspec turns into JSON. It
            refuses by raising ControlError. A stream is advanced only as fast as it is read, so an
            iterator that queues bounds its own queue.
        control_group: gid whose members may connect besides root and our own user; None for nobody.
        log: told about what was refused, at most once in REJECTED_LOG_INTERVAL_NS.
        clock: monotonic nanoseconds, for that limit.

    Attributes:
        rejected: callers, lines and readers turned away so far.
    """

    def __init__(
        self,
        path: str,
        handle: Handle,
        *,
        control_group: int | None = None,
        log: Callable[[str], None] = lambda _: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.rejected = 0
        self._path = path
        self._handle = handle
        self._group = control_group
        self._access = Access(os.geteuid(), control_group)
        self._log = log
        self._clock = clock
        self._logged_at: int | None = None
        self._unlogged = 0
        self._answers = Answers()
        self._commands: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._serving: set[asyncio.Task[None]] = set()  # one for each of them, and for the refused
        self._server: asyncio.Server | None = None
        self._closing = False
        self._decoder = msgspec.json.Decoder(Request)

    async def start(self) -> None:
        """Bind and listen.

        Raises:
            OSError: the socket cannot be made at `path`, or not be given to the group.
        """
        if len(os.fsencode(self._path)) > limits.SOCKET_PATH_MAX:
            raise OSError(
                errno.ENAMETOOLONG,
                f"path of a socket is longer than {limits.SOCKET_PATH_MAX} bytes",
                self._path,
            )
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            _remove_socket(self._path)
            listener.bind(self._path)
            # Nobody can connect before listen(2), so there is no moment of wrong permissions.
            if self._group is None:
                os.chmod(self._path, 0o600)
            else:
                os.chown(self._path, -1, self._group)
                os.chmod(self._path, 0o660)
            self._server = await asyncio.start_unix_server(
                self._connected,
                sock=listener,
                limit=limits.CONTROL_LINE_MAX,
                backlog=limits.CONTROL_CLIENTS_MAX,
            )
        except BaseException:
            listener.close()
            raise

    async def close(self) -> None:
        """Take no more, end streams, tell those who wait `shutting_down`, remove the socket.

        Returns within a few times CONTROL_CLOSE_S, whatever the clients and handlers do.
        """
        if self._server is None:
            return
        self._closing = True
        self._server.close()
        await _cancel(self._commands)
        for connection in self._connections:
            connection.cancel_streams()
        answering = {task for connection in self._connections for task in connection.tasks}
        if answering:
            await asyncio.wait(answering, timeout=limits.CONTROL_CLOSE_S)
        for connection in self._connections:
            connection.flush_s = limits.CONTROL_CLOSE_S
        await _cancel(self._serving)
        _remove_socket(self._path)
        self._server = None

    async def lines(self, caller: Caller, request: Request) -> AsyncGenerator[bytes]:
        """What answers a request that has come on another way than the socket, line by line.

        A command is done once and to its end, as on the socket, whoever waits for the answer.
        """
        try:
            if request.verb not in READING_VERBS:
                yield await asyncio.shield(self._once(caller, request))
                return
            outcome = self._ask(caller, request)
            if not isinstance(outcome, AsyncIterator):
                yield await self._answer(request, outcome)
                return
            assert isinstance(outcome, AsyncGenerator), f"{request.verb}: who reads no more ends it"
            async with contextlib.aclosing(outcome) as items:
                async for item in items:
                    yield line_of({"id": request.id, "item": item})
            yield line_of({"id": request.id, "ok": True, "end": True})
        except ControlError as error:
            yield refused(request.id, error)
        except Exception as error:  # noqa: BLE001 - told to the client and handed on, not swallowed
            yield refused(request.id, self._failed(request, error))

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The task is ours, not asyncio's, which mistakes a cancelled one for a failure (3.11).
        peer: socket.socket = writer.get_extra_info("socket")
        connection = Connection(caller_of(peer), reader, writer)
        refusal = self._refusal(connection.caller, groups_of(peer))
        if refusal is None:
            self._connections.add(connection)
        serving = asyncio.create_task(self._serve(connection, refusal))
        self._serving.add(serving)
        serving.add_done_callback(self._served)

    def _served(self, serving: asyncio.Task[None]) -> None:
        self._serving.discard(serving)
        report_failure(serving)

    async def _serve(self, connection: Connection, refusal: ControlError | None) -> None:
        """Live through one connection."""
        try:
            if refusal is not None:
                self._reject(connection.caller, refusal.message)
                await connection.send(refused(None, refusal))
                return
            await self._read(connection)
            await connection.answered()
        except ConnectionError:
            pass  # the client is gone; its commands go on without it
        except TimeoutError:
            self._reject(connection.caller, "cut off: reads too slowly")
        finally:
            self._connections.discard(connection)
            await connection.close()

    def _refusal(self, caller: Caller, groups: tuple[int, ...]) -> ControlError | None:
        if self._closing:
            return ControlError("shutting_down", "cannot take requests: the daemon is ending")
        if not self._access.allows(caller, groups):
            return ControlError(
                "denied",
                f"cannot let uid {caller.uid} control this node",
                "root, the daemon's own user and the members of control_group may",
            )
        if len(self._connections) >= limits.CONTROL_CLIENTS_MAX:
            for connection in self._connections:
                connection.drop_if_hung_up()
        if len(self._connections) >= limits.CONTROL_CLIENTS_MAX:
            return ControlError(
                "too_many",
                f"cannot serve more than {limits.CONTROL_CLIENTS_MAX} connections at a time",
                "end some, or try again",
            )
        return None

    async def _read(self, connection: Connection) -> None:
        """Take requests until the client has no more."""
        while True:
            try:
                line = await connection.reader.readline()
            except ValueError:
                # Where the next request begins is not known any more.
                problem = f"line longer than {limits.CONTROL_LINE_MAX} bytes"
                self._reject(connection.caller, problem)
                await connection.send(refused(None, bad_request(problem)))
                return
            if not line:
                return
            if line.isspace():
                continue
            request_id = None
            try:
                request = self._decode(line)
                request_id = request.id
                connection.begin(self._respond, request)
            except ControlError as error:
                self._reject(connection.caller, error.message)
                await connection.send(refused(request_id, error))

    def _decode(self, line: bytes) -> Request:
        try:
            request = self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bad_request(str(error)) from error
        if not 0 < len(request.id) <= limits.CONTROL_ID_MAX:
            raise bad_request(f"an id has 1 to {limits.CONTROL_ID_MAX} characters")
        return request

    async def _respond(self, connection: Connection, request: Request) -> None:
        """Have one request done and send what comes of it."""
        caller = connection.caller
        try:
            if request.verb not in READING_VERBS:
                line = await asyncio.shield(self._once(caller, request))
            else:
                outcome = self._ask(caller, request)
                if isinstance(outcome, AsyncIterator):
                    connection.mark_stream()
                    await self._stream(connection, request, outcome)
                    return
                line = await self._answer(request, outcome)
        except ControlError as error:
            line = refused(request.id, error)
        await self._send(connection, line)

    def _once(self, caller: Caller, request: Request) -> asyncio.Future[bytes]:
        """The answer to a command that is begun now, or was begun when its id came first."""
        known = self._answers.find(caller.uid, request)
        if known is not None:
            return known
        answer = self._answers.begin(caller.uid, request)
        command = asyncio.create_task(self._command(caller, request))
        self._commands.add(command)
        command.add_done_callback(self._commands.discard)
        return answer

    async def _command(self, caller: Caller, request: Request) -> None:
        """Do a command to its end. It belongs to no connection, so no disconnect cuts it short."""
        line = refused(
            request.id,
            ControlError("shutting_down", f"cannot finish {request.verb}: the daemon is ending"),
        )
        try:
            outcome = self._ask(caller, request)
            assert not isinstance(outcome, AsyncIterator), f"{request.verb} acts: it has no stream"
            line = await self._answer(request, outcome)
        except ControlError as error:
            line = refused(request.id, error)
        finally:
            self._answers.finish(caller.uid, request, line)

    def _ask(self, caller: Caller, request: Request) -> Awaitable[Any] | AsyncIterator[Any]:
        try:
            return self._handle(caller, request)
        except ControlError:
            raise
        except Exception as error:
            raise self._failed(request, error) from error

    async def _answer(self, request: Request, outcome: Awaitable[Any]) -> bytes:
        """The line that answers a request, whatever becomes of its handler."""
        try:
            return line_of({"id": request.id, "ok": True, "result": await outcome})
        except ControlError as error:
            return refused(request.id, error)
        except Exception as error:  # noqa: BLE001 - told to the client and handed on, not swallowed
            return refused(request.id, self._failed(request, error))

    async def _stream(
        self, connection: Connection, request: Request, items: AsyncIterator[Any]
    ) -> None:
        """Send a stream to its end, its failure, or the end of the client or of ours."""
        last = line_of({"id": request.id, "ok": True, "end": True})
        sent = 0
        try:
            async for item in items:
                if not await self._send(connection, line_of({"id": request.id, "item": item})):
                    return
                sent += 1
                if sent % limits.CONTROL_STREAM_TURN == 0:
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self._closing:
                connection.write(last)
            raise
        except ControlError as error:
            last = refused(request.id, error)
        except Exception as error:  # noqa: BLE001 - told to the client and handed on, not swallowed
            last = refused(request.id, self._failed(request, error))
        finally:
            if (aclose := getattr(items, "aclose", None)) is not None:
                await aclose()
        await self._send(connection, last)

    async def _send(self, connection: Connection, line: bytes) -> bool:
        """Send a line; say whether there is still somebody to read the next one."""
        try:
            await connection.send(line)
        except ConnectionError:
            return False
        except TimeoutError:
            self._reject(connection.caller, "cut off: reads too slowly")
            return False
        return True

    def _failed(self, request: Request, error: Exception) -> ControlError:
        """A handler broke: our bug. The loop's exception handler decides what becomes of us."""
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": f"the handler of the control verb {request.verb!r} failed",
                "exception": error,
            }
        )
        return ControlError(
            "failed",
            f"cannot {request.verb}: internal error: {type(error).__name__}: {error}",
            "this is a bug; the daemon's log says more",
        )

    def _reject(self, caller: Caller, why: str) -> None:
        """Count something that was turned away and log it, unless much was logged just now."""
        self.rejected += 1
        now = self._clock()
        if self._logged_at is not None and now - self._logged_at < limits.REJECTED_LOG_INTERVAL_NS:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more since the last such message)" if self._unlogged else ""
        self._logged_at, self._unlogged = now, 0
        self._log(f"control: rejected uid {caller.uid}, pid {caller.pid}: {why}{more}")


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel these and wait, but not for ever, until they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(set(tasks), timeout=limits.CONTROL_CLOSE_S)


def _remove_socket(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
