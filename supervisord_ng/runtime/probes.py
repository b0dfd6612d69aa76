"""One look at a worker from outside: does its port accept, does its URL answer, does its check succeed?

Knows nothing of what a look is for, how often it is taken and how long it may last: whoever wants it over
cancels it. Nothing here blocks the loop: connections are asyncio's, a check is a process like any other,
under the daemon's reaper.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Mapping
from signal import SIGKILL
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import supervisord_ng
from supervisord_ng import limits
from supervisord_ng.errors import SpawnError
from supervisord_ng.model.exits import ExitStatus, status_text
from supervisord_ng.model.spec import LaunchSpec, Ready
from supervisord_ng.runtime import spawner
from supervisord_ng.runtime.reaper import Reaper

_LOOPBACK = ("127.0.0.1", "::1")  # what "localhost" means, RFC 6761; nobody has to be asked
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")
_PORTS = {"http": 80, "https": 443}


class Subject(NamedTuple):
    """On whose behalf a look is taken: a check runs as its user, in its directory and environment."""

    launch: LaunchSpec
    environment: Mapping[str, str]


class Prober:
    """Takes looks.

    Args:
        loop: of the daemon.
        reaper: waits for the processes of checks; whoever listens to it has to pass what it tells on
            to `exited` and `emptied` first.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, reaper: Reaper) -> None:
        self._loop = loop
        self._reaper = reaper
        self._checks: dict[int, asyncio.Future[ExitStatus]] = {}
        self._lookups: dict[str, asyncio.Future[list[str]]] = {}

    async def look(self, probe: Ready, subject: Subject) -> str | None:
        """Take one look, of kind tcp, http or command.

        Returns:
            None when all is well, else what is not, in words.
        """
        match probe.kind, probe.target:
            case "tcp", str(endpoint):
                host, _, port = endpoint.rpartition(":")
                return await self._tcp(host.strip("[]"), int(port))
            case "http", str(url):
                return await self._http(urlsplit(url))
            case "command", tuple(command):
                return await self._check(command, subject)
            case _:
                raise AssertionError(f"no probe: {probe}")

    def exited(self, pid: int, status: ExitStatus | None) -> bool:
        """A process has ended; False when it is none of a check."""
        ended = self._checks.get(pid)
        if ended is None:
            return False
        assert status is not None, "a check hands nothing over"
        if not ended.done():
            ended.set_result(status)
        if self._reaper.group_is_empty(pid):
            del self._checks[pid]
        else:
            self._kill(pid)
        return True

    def emptied(self, pid: int) -> bool:
        """What a process left behind is gone; False when it is none of a check."""
        return self._checks.pop(pid, None) is not None

    def close(self) -> None:
        """End all checks that are under way."""
        for pid in self._checks:
            self._kill(pid)

    # --- connections -----------------------------------------------------------------------------
    async def _tcp(self, host: str, port: int) -> str | None:
        try:
            _, writer = await self._connect(host, port, None)
        except OSError as error:
            return _words(error)
        writer.transport.abort()
        return None

    async def _http(self, url: SplitResult) -> str | None:
        """GET, as far as the status: what the answer says, it says in its first line."""
        context = _any_certificate() if url.scheme == "https" else None
        assert url.hostname is not None
        port = url.port or _PORTS[url.scheme]
        try:
            reader, writer = await self._connect(url.hostname, port, context)
        except OSError as error:
            return _words(error)
        try:
            writer.write(_request(url))
            return await _judge(reader)
        finally:
            writer.transport.abort()

    async def _connect(
        self, host: str, port: int, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first address of `host` that accepts.

        Raises:
            OSError: none does; about the first of them.
        """
        refused: OSError | None = None
        name = None if context is None else host
        for address in await self._addresses(host):
            try:
                return await asyncio.open_connection(
                    address,
                    port,
                    ssl=context,
                    server_hostname=name,
                    limit=limits.PROBE_HTTP_HEAD_MAX,
                )
            except OSError as error:
                refused = refused or error
        raise refused or OSError(f"no address of {host}")

    async def _addresses(self, host: str) -> list[str] | tuple[str, ...]:
        """The addresses of a host. A name needs the resolver, which blocks: asyncio gives it a thread."""
        if host == "localhost":
            return _LOOPBACK
        if _is_address(host):
            return (host,)
        lookup = self._lookups.get(host)
        if lookup is None:
            # One at a time for each name, also when whoever asked has given up: a resolver that
            # does not answer must not take more and more threads.
            lookup = self._loop.create_task(self._resolve(host))
            lookup.add_done_callback(lambda done: self._looked_up(host, done))
            self._lookups[host] = lookup
        return await asyncio.shield(lookup)

    async def _resolve(self, host: str) -> list[str]:
        try:
            found = await self._loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except UnicodeError as error:  # such as an empty label
            raise OSError(f"no such host: {host}") from error
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def _looked_up(self, host: str, lookup: asyncio.Future[list[str]]) -> None:
        del self._lookups[host]
        if not lookup.cancelled():
            lookup.exception()  # whoever waits for it still hears of it, and if nobody does, so be it

    # --- checks ----------------------------------------------------------------------------------
    async def _check(self, command: tuple[str, ...], subject: Subject) -> str | None:
        """Run a command to its end. Whatever it leaves behind, or is left of it when cancelled, is killed."""
        launch = _of_check(subject.launch, command)
        null = subprocess.DEVNULL
        try:
            process = spawner.spawn(
                launch, environment=subject.environment, stdout=null, stderr=null
            )
        except SpawnError as error:
            return error.message
        self._reaper.watch(process.pid, process.pidfd)
        ended = self._checks[process.pid] = self._loop.create_future()
        try:
            status = await ended
        finally:
            if not ended.done() or ended.cancelled():
                self._kill(process.pid)
        return None if status.code == 0 else status_text(status)

    def _kill(self, pid: int) -> None:
        self._reaper.signal_group(pid, SIGKILL)


def describe(probe: Ready) -> str:
    """A look in words, as in "tcp 127.0.0.1:6379"."""
    if isinstance(probe.target, tuple):
        return " ".join(probe.target)
    return f"{probe.kind} {probe.target}"


def _of_check(launch: LaunchSpec, command: tuple[str, ...]) -> LaunchSpec:
    """How a check is started: as the worker's user, in its directory; the worker's limits are its own."""
    return LaunchSpec(
        command=command,
        directory=launch.directory,
        user=launch.user,
        group=launch.group,
        groups=launch.groups,
        umask=launch.umask,
        environment=launch.environment,
    )


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


def _any_certificate() -> ssl.SSLContext:
    """Whether a server answers is asked, not who it is: its certificate is for the name that others use.

    As the probes of Kubernetes' kubelet.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _request(url: SplitResult) -> bytes:
    credentials, _, host = url.netloc.rpartition("@")
    query = f"?{url.query}" if url.query else ""
    lines = [
        f"GET {url.path or '/'}{query} HTTP/1.1",
        f"Host: {host}",
        f"User-Agent: supervisord-ng/{supervisord_ng.__version__}",
        "Accept: */*",
        "Connection: close",
    ]
    if credentials:
        encoded = base64.b64encode(unquote(credentials).encode()).decode()
        lines.append(f"Authorization: Basic {encoded}")
    return "\r\n".join([*lines, "", ""]).encode()


async def _judge(reader: asyncio.StreamReader) -> str | None:
    """Read heads until one is final (RFC 9110, 15.2: any number of 1xx may come before)."""
    status = 100
    while status < 200:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return "closed without an answer"
        except asyncio.LimitOverrunError:
            return f"no HTTP answer within {limits.PROBE_HTTP_HEAD_MAX} bytes"
        except OSError as error:
            return _words(error)
        line = _STATUS_LINE.match(head)
        if line is None:
            return "no HTTP answer"
        status = int(line[1])
    return None if status < 400 else f"HTTP status {status}"


def _words(error: OSError) -> str:
    """What strerror(3) says, in the house's lower case; asyncio and ssl have words of their own."""
    if error.errno is not None and error.errno > 0 and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno).lower()
    return error.strerror or str(error)
