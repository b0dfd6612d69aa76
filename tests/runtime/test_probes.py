"""Looks from outside: what a port, a URL and a check say, in words when it is nothing good."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from supervisord_ng import limits
from supervisord_ng.model.spec import LaunchSpec, Ready
from supervisord_ng.runtime.probes import Prober, Subject, describe
from tests.needs import require_program
from tests.runtime.probing import SUBJECT, play
from tests.runtime.world import until
from tests.support import is_alive


def look(probe: Ready, subject: Subject = SUBJECT) -> str | None:
    """Take one look from a loop of its own."""

    async def scene(prober: Prober) -> str | None:
        return await prober.look(probe, subject)

    return play(scene)


def free_port() -> int:
    """A port of this host that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


# --- connections -----------------------------------------------------------------------------------
def test_who_listens_is_found_under_any_name_of_the_loopback() -> None:
    """A listening socket is enough: the kernel accepts for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            assert look(Ready("tcp", f"{host}:{port}")) is None


def test_ipv6_is_an_address_in_brackets() -> None:
    """And what "localhost" means as well."""
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this host cannot speak IPv6")
    with server:
        port = server.getsockname()[1]
        for host in ("[::1]", "localhost"):
            assert look(Ready("tcp", f"{host}:{port}")) is None


def test_who_does_not_listen_is_told_in_the_kernels_words() -> None:
    """A refused connection is the usual answer of a program that is not there yet."""
    assert "connection refused" == look(Ready("tcp", f"localhost:{free_port()}"))


def test_a_name_that_cannot_be() -> None:
    """A host name that no resolver would take is a failed look, not a failed daemon."""
    assert "no such host: a..b" == look(Ready("tcp", "a..b:80"))


def test_looks_at_one_name_share_one_lookup() -> None:
    """A resolver that does not answer must not take more and more threads."""

    async def scene(prober: Prober) -> tuple[int, int]:
        looks = [
            asyncio.ensure_future(prober.look(Ready("tcp", "a.invalid:80"), SUBJECT))
            for _ in range(5)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        under_way = len(prober._lookups)
        for one in looks:
            one.cancel()
        await asyncio.wait(looks)
        await until(lambda: not prober._lookups, "the resolver has answered")
        return under_way, len(prober._lookups)

    assert (1, 0) == play(scene)


# --- HTTP --------------------------------------------------------------------------------------------
def served(answer: bytes, path: str = "/health?x=1", *, tls: ssl.SSLContext | None = None) -> str:
    """Let one connection be answered like this; return what was asked, then what the look said."""

    async def scene(prober: Prober) -> str:
        asked: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        scheme = "http" if tls is None else "https"
        url = path if "//" in path else f"{scheme}://127.0.0.1:{port}{path}"
        said = await prober.look(Ready("http", url.replace("PORT", str(port))), SUBJECT)
        server.close()
        await asyncio.sleep(0)
        return f"{asked[0].decode()}{said}".replace(str(port), "PORT")

    return play(scene)


def said(answer: bytes) -> str:
    """What a look makes of an answer."""
    return served(answer).rpartition("\r\n\r\n")[2]


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_from_200_to_399_all_is_well(status: int) -> None:
    """A redirection is an answer like any other; it is not followed."""
    assert "None" == said(f"HTTP/1.1 {status} Whatever\r\nA: b\r\n\r\nbody".encode())


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_from_400_on_it_is_not(status: int) -> None:
    """The status is in the report."""
    assert f"HTTP status {status}" == said(f"HTTP/1.0 {status}\r\n\r\n".encode())


def test_interim_answers_are_not_the_answer() -> None:
    """Any number of 1xx may come first (RFC 9110, 15.2)."""
    assert "HTTP status 500" == said(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 500 No\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "closed without an answer"),
        (b"HTTP/1.1 200 OK\r\n", "closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP answer"),
        (
            b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2 * limits.PROBE_HTTP_HEAD_MAX + b"\r\n\r\n",
            f"no HTTP answer within {limits.PROBE_HTTP_HEAD_MAX} bytes",
        ),
    ],
    ids=["nothing", "half", "other", "number", "endless"],
)
def test_what_is_no_answer_is_no_answer(answer: bytes, expected: str) -> None:
    """Whatever listens there, the look ends, and its memory is bounded."""
    assert expected == said(answer)


def test_the_request_is_a_plain_one() -> None:
    """With the host that proxies go by, the query, and no wish to be kept connected."""
    asked = served(b"HTTP/1.1 200 OK\r\n\r\n").splitlines()
    assert "GET /health?x=1 HTTP/1.1" == asked[0]
    assert {"Host: 127.0.0.1:PORT", "Accept: */*", "Connection: close"} < set(asked)


def test_credentials_in_the_url_are_sent() -> None:
    """As every client sends them; never in the line that ends up in logs."""
    asked = served(b"HTTP/1.1 200 OK\r\n\r\n", "http://a:b%40c@127.0.0.1:PORT").splitlines()
    assert ("GET / HTTP/1.1", "Host: 127.0.0.1:PORT") == (asked[0], asked[1])
    assert "Authorization: Basic YTpiQGM=" in asked


def test_https_asks_whether_and_not_who(tmp_path: Path) -> None:
    """The certificate of a worker is for the name that its users know it by, not for the loopback."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *(require_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *(
                "-keyout",
                str(key),
                "-out",
                str(certificate),
                "-days",
                "2",
                "-subj",
                "/CN=x.example",
            ),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    assert served(b"HTTP/1.1 200 OK\r\n\r\n", tls=context).endswith("None")


# --- checks --------------------------------------------------------------------------------------
def check(code: str, *arguments: str) -> Ready:
    """A check that runs Python code."""
    return Ready("command", (sys.executable, "-c", code, *arguments))


@pytest.mark.process
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", None),
        ("raise SystemExit(3)", "exit:3"),
        ("import os; os.kill(os.getpid(), 9)", "signal:SIGKILL"),
    ],
    ids=["zero", "three", "killed"],
)
def test_a_check_is_judged_by_its_exit(code: str, expected: str | None) -> None:
    """Exit 0 and nothing else is good."""
    assert expected == look(check(code))


@pytest.mark.process
def test_a_check_that_cannot_be_started_has_failed() -> None:
    """In the words of a worker that cannot be started."""
    failed = look(Ready("command", ("/no/such/check",)))
    assert "cannot start: no such file: /no/such/check (command)" == failed


@pytest.mark.process
def test_a_check_runs_where_and_with_what_its_worker_does(tmp_path: Path) -> None:
    """The directory and environment of the worker, and what it is told of who it is."""
    launch = LaunchSpec(
        ("worker",), directory=str(tmp_path), environment={"A": "1", "PATH": os.environ["PATH"]}
    )
    code = "import os, sys; open('told', 'w').write(os.environ['A'] + os.environ['SNG_NAME'] + os.getcwd())"
    assert look(check(code), Subject(launch, {"SNG_NAME": "w"})) is None
    assert f"1w{tmp_path}" == (tmp_path / "told").read_text()


LINGERING = """
import subprocess, sys
child = subprocess.Popen(["sleep", "1000"])
open(sys.argv[1], "w").write(f"{child.pid}\\n")
if len(sys.argv) > 2:
    child.wait()
"""


def pid_in(path: Path) -> int:
    """The number that a check wrote down, 0 before it has."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else 0


@pytest.mark.process
def test_what_a_check_leaves_behind_is_killed(tmp_path: Path) -> None:
    """The check itself was good."""
    assert look(check(LINGERING, str(tmp_path / "pid"))) is None
    assert not is_alive(pid_in(tmp_path / "pid"))


@pytest.mark.process
def test_a_check_that_nobody_waits_for_any_more_is_killed_whole(tmp_path: Path) -> None:
    """A look that takes too long is cancelled; so is one at a worker that has ended."""

    async def scene(prober: Prober) -> int:
        asked = asyncio.ensure_future(
            prober.look(check(LINGERING, str(tmp_path / "pid"), "wait"), SUBJECT)
        )
        child: int = await until(lambda: pid_in(tmp_path / "pid"), "the check has begun")
        asked.cancel()
        await until(lambda: not prober._checks, "the check is gone")
        return child

    assert not is_alive(play(scene))


def test_a_look_in_words() -> None:
    """For reports: what was looked at."""
    assert "redis-cli ping" == describe(Ready("command", ("redis-cli", "ping")))
    assert "tcp localhost:80" == describe(Ready("tcp", "localhost:80"))
