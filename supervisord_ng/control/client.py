"""The operator's end of the control socket: blocking, on the standard library alone.

``sng`` is started a thousand times a day, so nothing slow is imported here: no event loop, no
ZeroMQ, no msgspec.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from supervisord_ng.errors import ControlError, NoDaemonError
from supervisord_ng.limits import CONTROL_CONNECT_TIMEOUT_S, CONTROL_REPLY_TIMEOUT_S
from supervisord_ng.model.defaults import SYSTEM_RUNTIME_DIR, default_runtime_dir
from supervisord_ng.model.paths import CONTROL_SOCKET

READ_BYTES = 65536
BUSY_HINT = "it is there but does not answer; is it stopped, or the host overloaded?"
START_HINT = "start one with 'sng run TREE.toml' or 'supervisord-ng -c TREE.toml'"


def find_runtime_dir(given: str | None, environ: Mapping[str, str], *, is_root: bool) -> str:
    """The runtime directory of the node to talk to.

    Args:
        given: what the user named, or None.
        environ: SNG_RUNTIME_DIR in it comes next, then the defaults of a daemon of the same user.
        is_root: whether we run as root.

    Returns:
        When nobody names one, the default in which a daemon has its socket: an operator's own comes
        before the system's, which members of its control_group use too.

    Raises:
        NoDaemonError: there is no default to look at.
    """
    if named := given or environ.get("SNG_RUNTIME_DIR"):
        return named
    default = default_runtime_dir(environ, is_root=is_root)
    if default is None or not environ.get("RUNTIME_DIRECTORY"):
        for directory in (default, SYSTEM_RUNTIME_DIR):
            if directory is not None and os.path.exists(f"{directory}/{CONTROL_SOCKET}"):
                return directory
    if default is None:
        raise NoDaemonError(
            f"cannot find a daemon: none in {SYSTEM_RUNTIME_DIR}, and XDG_RUNTIME_DIR is not set"
            " (name its directory with --runtime-dir or SNG_RUNTIME_DIR)"
        )
    return default


class Client:
    """A connection to the daemon of one node, made by the first request.

    Args:
        runtime_dir: the directory in which its control socket lies.
        node: another node below that one, which is meant by every request.
    """

    def __init__(self, runtime_dir: str, node: str | None = None) -> None:
        self.path = f"{runtime_dir}/{CONTROL_SOCKET}"
        self._to = {} if node is None else {"node": node}
        self._socket: socket.socket | None = None
        self._unread = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A stream ends with it, a command does not."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def request(
        self, verb: str, args: dict[str, Any], timeout_s: float | None = CONTROL_REPLY_TIMEOUT_S
    ) -> Any:
        """Ask for one thing and wait for the answer.

        Args:
            verb: one of docs/control-protocol.md.
            args: its arguments.
            timeout_s: seconds to wait; None waits as long as the daemon shows that it is alive.

        Raises:
            NoDaemonError: nobody listens, or the daemon ended before it answered.
            ControlError: it refused, or did not answer in time.
        """
        request_id = self._send(verb, args)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        return self._reply(request_id, verb, deadline)["result"]

    def stream(self, verb: str, args: dict[str, Any]) -> Iterator[Any]:
        """Ask for a stream; yield its items as they come, until it ends.

        Raises:
            NoDaemonError: nobody listens, or the connection broke before the stream's end.
            ControlError: the daemon refused.
        """
        request_id = self._send(verb, args)
        while True:
            line = self._line(None)
            assert line is not None
            if not line:
                raise NoDaemonError(
                    f"cannot read on: the connection to {self.path} was cut off"
                    " (the daemon ended, or we read too slowly)"
                )
            document = _document(line, request_id)
            if document.get("id") != request_id:
                continue
            if "item" not in document:
                return
            yield document["item"]

    def wait_cut_off(self, timeout_s: float) -> None:
        """Return when the daemon has closed the connection, or after so many seconds."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0 and self._line(left):
            pass

    def watch(self) -> DaemonWatch:
        """Remember the daemon behind the connection, to wait for its end later.

        Raises:
            NoDaemonError: nobody listens.
            ControlError: we may not connect.
        """
        return DaemonWatch(self._connected())

    def _send(self, verb: str, args: dict[str, Any], to: dict[str, str] | None = None) -> str:
        request_id = os.urandom(8).hex()
        request = {"id": request_id, "verb": verb, "args": args} | (self._to if to is None else to)
        line = json.dumps(request).encode() + b"\n"
        connection = self._connected()
        connection.settimeout(CONTROL_CONNECT_TIMEOUT_S)
        try:
            connection.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            # The daemon turned us away before it read this. Why, it has written.
            pass
        except TimeoutError:
            raise ControlError(
                "failed", f"cannot {verb}: the daemon does not take requests", BUSY_HINT
            ) from None
        return request_id

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = _connect(self.path)
        return self._socket

    def _reply(self, request_id: str, verb: str, deadline: float | None) -> dict[str, Any]:
        """The answer to one request; without a deadline, see to it that one may still come."""
        expected_ping: str | None = None
        while True:
            patience = CONTROL_REPLY_TIMEOUT_S if deadline is None else deadline - time.monotonic()
            line = self._line(patience)
            if line == b"":
                raise NoDaemonError(
                    f"cannot tell what became of {verb}: the daemon ended before it answered"
                    f" (it listened on {self.path})"
                )
            if line is None:
                if deadline is not None or expected_ping is not None:
                    raise ControlError(
                        "failed",
                        f"cannot wait longer for {verb}: the daemon has not answered yet",
                        "it is still in progress, not failed; 'sng status' shows how it went on",
                    )
                expected_ping = self._send("version", {}, to={})
                continue
            document = _document(line, request_id)
            if document.get("id") == request_id:
                return document
            if document.get("id") == expected_ping:
                expected_ping = None

    def _line(self, timeout_s: float | None) -> bytes | None:
        """The next line; b"" at the end of the connection, None when none came in time."""
        connection = self._connected()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            connection.settimeout(left)
            try:
                chunk = connection.recv(READ_BYTES)
            except TimeoutError:
                return None
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return b""
            self._unread += chunk
        line = bytes(self._unread[: end + 1])
        del self._unread[: end + 1]
        return line


class DaemonWatch:
    """Waits for the end of the daemon at the other end of a connection.

    By pidfd (pidfd_open(2)), because the socket closes a moment before the process is gone; and
    where the kernel gives none, because the daemon lives in a pid namespace that we do not see, by
    the socket alone.
    """

    def __init__(self, connection: socket.socket) -> None:
        ucred = struct.Struct("iII")  # struct ucred of unix(7): pid, uid, gid
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, ucred.size)
        self._connection = connection
        try:
            self._pidfd: int | None = os.pidfd_open(ucred.unpack(raw)[0])
        except OSError:
            self._pidfd = None

    def wait(self) -> None:
        """Return when the daemon is gone, which is when the last of its workers is."""
        poller = select.poll()
        if self._pidfd is None:
            poller.register(self._connection.fileno(), select.POLLRDHUP)
        else:
            poller.register(self._pidfd, select.POLLIN)
        poller.poll()

    def close(self) -> None:
        """Let go of the daemon."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONTROL_CONNECT_TIMEOUT_S)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        if error.errno in (errno.EACCES, errno.EPERM):
            raise ControlError(
                "denied",
                f"cannot connect to {path}: permission denied",
                "root, the daemon's own user and the members of control_group may",
            ) from error
        if isinstance(error, TimeoutError) or error.errno == errno.EAGAIN:
            raise ControlError(
                "failed", f"cannot connect to {path}: no answer", BUSY_HINT
            ) from error
        raise NoDaemonError(
            f"cannot reach a daemon on {path}: {_why(error)} ({START_HINT})"
        ) from error
    return connection


def _why(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "no such socket"
    if error.errno == errno.ECONNREFUSED:
        return "nobody listens there any more"
    return (error.strerror or str(error)).lower()


def _document(line: bytes, request_id: str) -> dict[str, Any]:
    """The document in a line.

    Raises:
        ControlError: it refuses our request, or the connection as a whole, or is not in our
        language.
    """
    try:
        document: dict[str, Any] = json.loads(line)
        if document.get("id") not in (None, request_id) or document.get("ok", True):
            return document
        error = document["error"]
        refusal = ControlError(error["code"], error["message"], error.get("hint"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ControlError(
            "failed",
            "cannot understand the daemon's answer",
            "does 'sng version' show the same version for both?",
        ) from error
    raise refusal
