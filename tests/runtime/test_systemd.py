"""What the daemon tells its service manager, read from real datagram sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisord_ng import limits
from supervisord_ng.runtime.systemd import Notifier


@pytest.fixture
def listener(short_dir: Path) -> Iterator[socket.socket]:
    """A service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(short_dir / "notify"))
        bound.setblocking(False)
        yield bound


@pytest.fixture
def notifier(listener: socket.socket) -> Iterator[Notifier]:
    """A notifier that speaks to `listener`."""
    made = Notifier.from_environ({"NOTIFY_SOCKET": listener.getsockname()})
    yield made
    made.close()


def test_every_message_is_what_sd_notify_says(listener: socket.socket, notifier: Notifier) -> None:
    """Each call is one datagram of assignments, a line each."""
    sent = [
        notifier.ready("12 workers"),
        notifier.status("11 of 12 running"),
        notifier.reloading(123456),
        notifier.watchdog(),
        notifier.watchdog(extend_by_ns=30_000_000_000),
        notifier.stopping(),
    ]
    assert [None] * 6 == sent
    assert [
        b"READY=1\nSTATUS=12 workers",
        b"STATUS=11 of 12 running",
        b"RELOADING=1\nMONOTONIC_USEC=123456",
        b"WATCHDOG=1",
        b"WATCHDOG=1\nEXTEND_TIMEOUT_USEC=30000000",
        b"STOPPING=1",
    ] == [listener.recv(4096) for _ in range(6)]


def test_a_long_status_is_cut(listener: socket.socket, notifier: Notifier) -> None:
    """systemd drops a datagram of more than a page as a whole; no character is cut in two."""
    notifier.status("ä" * 5000)
    assert b"STATUS=" + "ä".encode() * (limits.STATUS_TEXT_MAX // 2) == listener.recv(8192)


def test_a_status_cannot_smuggle_in_another_assignment(
    listener: socket.socket, notifier: Notifier
) -> None:
    """Line feeds in a text, which may come from a worker's name or an error, become spaces."""
    notifier.status("bad\nSTOPPING=1\r\nMAINPID=1")
    assert listener.recv(4096) == b"STATUS=bad STOPPING=1 MAINPID=1"


def test_abstract_sockets_are_reached() -> None:
    """An address behind '@' is a name in the abstract namespace."""
    name = f"sng-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0{name}")
        notifier = Notifier(f"@{name}")
        assert notifier.watchdog() is None
        assert bound.recv(4096) == b"WATCHDOG=1"
        notifier.close()


def test_workers_inherit_none_of_it() -> None:
    """The variables are gone from the environment afterwards, others stay."""
    environ = {
        "NOTIFY_SOCKET": "/nowhere",
        "WATCHDOG_USEC": "10000000",
        "WATCHDOG_PID": str(os.getpid()),
        "PATH": "/bin",
    }
    notifier = Notifier.from_environ(environ)
    notifier.close()
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 5_000_000_000),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5_000_000_000),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_timeout(
    variables: dict[str, str], expected: int | None
) -> None:
    """The interval is half of the timeout, if there is one and it is meant for this process."""
    assert Notifier.from_environ(variables).watchdog_interval_ns == expected


def test_without_a_service_manager_nothing_happens() -> None:
    """Every message is a success."""
    notifier = Notifier.from_environ({})
    assert notifier.ready("up") is None
    assert notifier.stopping() is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/nowhere/at/all", errno.ENOENT),
        ("vsock:2:1234", errno.EAFNOSUPPORT),
        ("relative/path", errno.EAFNOSUPPORT),
    ],
)
def test_a_send_that_fails_is_handed_back(address: str, expected: int) -> None:
    """An absent or impossible service manager is an error to log, never an exception."""
    notifier = Notifier(address)
    error = notifier.ready("up")
    assert error is not None
    assert error.errno == expected
    notifier.close()


def test_an_address_longer_than_the_kernel_takes_is_handed_back() -> None:
    """Python refuses it without an errno; the daemon must not die of it either."""
    notifier = Notifier("/" + "x" * 200)
    assert isinstance(notifier.ready("up"), OSError)
    notifier.close()


def test_a_full_queue_does_not_block(listener: socket.socket, notifier: Notifier) -> None:
    """A service manager that does not read costs messages, not time; later ones arrive again."""
    results = [notifier.watchdog() for _ in range(2000)]
    refused = [error for error in results if error is not None]
    assert {errno.EAGAIN} == {error.errno for error in refused}
    while True:
        try:
            listener.recv(4096)
        except BlockingIOError:
            break
    assert notifier.watchdog() is None


def test_a_restarted_service_manager_is_found_again(notifier: Notifier) -> None:
    """The socket may be replaced by another at the same path (``systemctl daemon-reexec``)."""
    path = notifier._address
    assert path is not None
    os.unlink(path)
    assert notifier.watchdog() is not None
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(path)
        assert notifier.watchdog() is None
        assert again.recv(4096) == b"WATCHDOG=1"
