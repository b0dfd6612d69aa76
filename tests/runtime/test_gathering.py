"""Beats of many workers are read together; whoever is waited for is read at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisord_ng.limits import HEARTBEAT_GATHER_MAX_NS, MS, SECOND
from supervisord_ng.runtime import traffic
from supervisord_ng.runtime.traffic import Traffic
from supervisord_ng.wire.heartbeat import Beat, Ready, Stacks
from tests.listening import Dealer, Listening
from tests.support import eventually

MANY = 100


@pytest.mark.parametrize(
    ("workers", "interval_ms", "timeout_ms", "expected_ns"),
    [
        (0, 0, 0, 0),
        (1000, 100, 5000, HEARTBEAT_GATHER_MAX_NS),
        (1000, 100, 200, 20 * MS),
        (100, 1000, 5000, HEARTBEAT_GATHER_MAX_NS),
        (10, 1000, 5000, 0),  # one beat in the time: there is nobody to wait for
        (1000, 0, 0, 0),  # nobody counts their beats
    ],
)
def test_what_arrives_waits_a_tenth_of_the_shortest_timeout(
    workers: int, interval_ms: int, timeout_ms: int, expected_ns: int
) -> None:
    """And a bounded time, and only where that gathers several; nothing is left when the workers are gone."""
    expected = Traffic()
    for _ in range(workers):
        expected.add(interval_ms, timeout_ms)
    assert expected_ns == expected.gather_ns
    for _ in range(workers):
        expected.remove(interval_ms, timeout_ms)
    assert 0 == expected.gather_ns


def test_the_shortest_timeout_counts_while_it_is_there() -> None:
    """One impatient worker among many makes all of them be read sooner."""
    expected = Traffic()
    for _ in range(1000):
        expected.add(100, 10_000)
    expected.add(10, 50)
    assert 5 * MS == expected.gather_ns
    expected.remove(10, 50)
    assert HEARTBEAT_GATHER_MAX_NS == expected.gather_ns


@pytest.fixture
def daemon(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Listening:
    """With many workers, and with all the time of the world to gather what they say."""
    monkeypatch.setattr(traffic, "HEARTBEAT_GATHER_MAX_NS", 3600 * SECOND)
    listening = Listening(short_dir)

    def register() -> None:
        for number in range(MANY):
            listening.server.register(f"t{number}", f"root/{number}", 1, None, 1000, 3_600_000)

    listening.call(register)
    return listening


def gathers(daemon: Listening) -> bool:
    """Whether something has arrived and waits."""
    return daemon.call(lambda: daemon.server._gathering is not None)


def test_a_judgement_reads_what_has_gathered(daemon: Listening) -> None:
    """All in one batch; what comes after it gathers again."""
    with daemon, Dealer(daemon.server.endpoint) as worker:
        token = daemon.token.encode()
        for number in range(5):
            worker.send(b"SNG1", token, b"beat", b"%d" % number, b"1")
            eventually(lambda: gathers(daemon), "it waits", 20)
        assert [] == daemon.batches

        def drained() -> bool:
            daemon.call(daemon.server.drain)
            return len(daemon.of(Beat)) == 5

        eventually(drained, "all are read", 20)


def test_somebody_who_is_waited_for_ends_the_gathering(daemon: Listening) -> None:
    """Its `ready` is read at once, and what has gathered before it; then beats gather again."""
    with daemon, Dealer(daemon.server.endpoint) as worker, Dealer(daemon.server.endpoint) as new:
        token = daemon.token.encode()
        worker.send(b"SNG1", token, b"beat", b"1", b"1")
        eventually(lambda: gathers(daemon), "it waits", 20)
        awaited = "token-of-new"
        daemon.call(
            lambda: daemon.server.register(awaited, "root/new", 1, None, 1000, 5000, awaited=True)
        )
        daemon.wait_for(Beat)
        new.send(b"SNG1", awaited.encode(), b"ready")
        daemon.wait_for(Ready)
        worker.send(b"SNG1", token, b"beat", b"2", b"2")
        eventually(lambda: gathers(daemon), "it waits again", 20)
        assert [Beat(1, 1)] == daemon.of(Beat)


def test_stacks_that_were_asked_for_are_read_at_once(daemon: Listening) -> None:
    """A hung worker is not kept alive for the sake of other workers' beats."""
    with daemon, Dealer(daemon.server.endpoint) as worker:
        token = daemon.token
        worker.send(b"SNG1", token.encode(), b"beat", b"1", b"1")
        eventually(lambda: gathers(daemon), "it waits", 20)
        daemon.call(daemon.server.drain)
        daemon.wait_for(Beat)
        assert daemon.call(lambda: daemon.server.send_dump(token))
        assert not gathers(daemon)
        worker.send(b"SNG1", token.encode(), b"stacks", b"here")
        assert Stacks("here") == daemon.wait_for(Stacks)


def test_one_that_is_gone_is_waited_for_no_more(daemon: Listening) -> None:
    """It ended before it was ready: the others gather again."""
    with daemon, Dealer(daemon.server.endpoint) as worker:
        awaited = "token-of-new"
        daemon.call(
            lambda: daemon.server.register(awaited, "root/new", 1, None, 1000, 5000, awaited=True)
        )
        daemon.call(lambda: daemon.server.unregister(awaited))
        worker.send(b"SNG1", daemon.token.encode(), b"beat", b"1", b"1")
        eventually(lambda: gathers(daemon), "it waits", 20)
