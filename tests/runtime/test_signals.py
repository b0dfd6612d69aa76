"""However many signals come within one turn of the loop, none is lost and nothing hangs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from supervisord_ng.runtime import signals
from tests.runtime.world import until

MANY = 100_000  # more than the pipe takes

HANDLED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    """Each begins with nobody who handles anything."""
    assert signals._Process.wakeup is None


def play(scene: Callable[[], None]) -> Counter[int]:
    """Handle three signals, let `scene` send some; return how often each was heard."""
    heard: Counter[int] = Counter()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in HANDLED:
            signals.handle(loop, number, partial(heard.update, [number]))
        scene()
        await until(lambda: heard[signal.SIGHUP], "the last one")
        for number in HANDLED:
            signals.forget(number)

    asyncio.run(run())
    return heard


def test_each_is_heard() -> None:
    """And one that nobody sent is not."""

    def scene() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGHUP)

    assert play(scene) == {signal.SIGUSR1: 1, signal.SIGHUP: 1}


def test_a_flood_drowns_none() -> None:
    """The pipe is full long before the last signal comes; it is heard all the same."""

    def scene() -> None:
        for _ in range(MANY):
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGHUP)

    heard = play(scene)
    assert heard[signal.SIGHUP] == 1
    assert 1 <= heard[signal.SIGUSR1] <= 2, "once for all of them, but for one on the way"


def test_afterwards_all_is_as_it_was() -> None:
    """No descriptor, no handler; Ctrl-C interrupts again."""
    before = len(os.listdir("/proc/self/fd"))
    play(lambda: os.kill(os.getpid(), signal.SIGHUP))
    assert len(os.listdir("/proc/self/fd")) == before
    assert {signal.getsignal(number) for number in HANDLED} == {signal.SIG_DFL}
    assert signal.set_wakeup_fd(-1) == -1
