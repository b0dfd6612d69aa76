"""The SDK without a supervisor: what it costs to import, and that it does nothing."""

from __future__ import annotations

import signal

import pytest

from supervisord_ng import worker
from tests.listening import Program

HEAVY = ("zmq", "msgspec", "asyncio", "json", "dataclasses", "supervisord_ng.model")


def test_the_import_is_light() -> None:
    """Neither ZeroMQ nor an event loop nor anything else of the house comes with it."""
    program = f"""
        import sys
        from supervisord_ng import worker
        with worker.attach() as w:
            w.ready()
            w.beat()
        print([name for name in {HEAVY} if name in sys.modules])
    """
    with Program(program) as process:
        out, err = process.communicate(timeout=60)

    assert ("[]\n", "") == (out, err)


@pytest.mark.parametrize("environment", [{}, {"SNG_TOKEN": "t"}, {"SNG_HEARTBEAT": "ipc:///x"}])
def test_run_by_hand_it_does_nothing(environment: dict[str, str]) -> None:
    """No thread, no hook, no signal handler; every call works and says nothing."""
    program = """
        import signal, sys, threading
        from supervisord_ng import worker
        before = (sys.excepthook, threading.excepthook, signal.getsignal(signal.SIGTERM))
        with worker.attach() as w:
            assert before == (sys.excepthook, threading.excepthook, signal.getsignal(signal.SIGTERM))
            assert threading.active_count() == 1
            assert not w.supervised
            w.ready()
            w.status("by hand")
            with w.idle():
                pass
            w.crash(ValueError("told to nobody"))
            assert [1, 2] == list(w.beating([1, 2]))
            assert not w.stopping.is_set()
            assert not w.stopping.wait(0.01)
        print("done")
    """
    with Program(program, **environment) as process:
        out, err = process.communicate(timeout=60)

    assert ("done\n", "", 0) == (out, err, process.returncode)


def test_run_by_hand_sigterm_ends_it() -> None:
    """As it ends any program, even one that looks at `stopping`."""
    program = """
        from supervisord_ng import worker
        with worker.attach() as w:
            print("up", flush=True)
            w.stopping.wait()
    """
    with Program(program) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)

    assert -signal.SIGTERM == process.returncode


def test_a_second_attach_is_refused() -> None:
    """One process has one line; after the end of the first it may attach again."""
    with (
        worker.attach(),
        pytest.raises(RuntimeError, match="cannot attach: this process is attached already"),
    ):
        worker.attach()
    worker.attach().detach()


def test_the_stop_event_is_like_that_of_threading() -> None:
    """Not set, waiting in vain, set, set again, and readable for an event loop."""
    with worker.attach() as w:
        event = w.stopping
        assert (False, False) == (event.is_set(), event.wait(0.0))
        event.set()
        event.set()
        assert (True, True, True) == (event.is_set(), event.wait(), event.wait(-1))
        assert [] == list(w.beating([1, 2, 3]))
