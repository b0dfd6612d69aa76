"""The SDK under a supervisor: real workers that speak to the daemon's real server."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from supervisord_ng.wire.heartbeat import (
    Beat,
    Hello,
    Ready,
    Stacks,
    Status,
    Stopping,
    Welcome,
)
from tests.listening import Listening, Program
from tests.support import eventually

pytestmark = pytest.mark.process

# A worker that does what its first line says, until it is told to end.
UNTIL_STOPPED = """
from supervisord_ng import worker
with worker.attach() as w:
    {action}
    w.stopping.wait()
"""


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ask a worker to end; return what it has printed."""
    process.send_signal(signal.SIGTERM)
    return process.communicate(timeout=60)


def test_a_worker_says_hello_ready_status_and_goodbye(short_dir: Path) -> None:
    """In this order; its beats say idle as long as it never called beat()."""
    with Listening(short_dir) as daemon:
        with daemon.start(UNTIL_STOPPED.format(action="w.ready(); w.status('warm')")) as process:
            daemon.wait_for(Status)
            daemon.wait_for(Beat, 3)
            assert ("", "") == end(process)
        daemon.wait_for(Stopping)

        assert 0 == process.returncode
        assert [Hello(process.pid), Ready(), Status("warm")] == [
            message for message in daemon.messages if not isinstance(message, Beat | Stopping)
        ]
        assert {None} == {beat.progress for beat in daemon.of(Beat)}
        assert Stopping is type(daemon.messages[-1])
        assert 0 == daemon.server.rejected


def test_beats_carry_the_progress(short_dir: Path) -> None:
    """The counter moves with beat(); beats come by themselves while it stands still."""
    with Listening(short_dir) as daemon:
        action = "print(sum(1 for _ in w.beating(range(1000))), flush=True)"
        with daemon.start(UNTIL_STOPPED.format(action=action)) as process:
            eventually(
                lambda: [1000] * 3 == [beat.progress for beat in daemon.of(Beat)[-3:]],
                "three beats of 1000",
            )
            out, _ = end(process)

        assert "1000\n" == out
        sequences = [beat.sequence for beat in daemon.of(Beat)]
        assert sorted(set(sequences)) == sequences


def test_idle_is_said_around_a_wait(short_dir: Path) -> None:
    """`with w.idle()`: beats say idle until it ends, and the counter has moved then."""
    program = """
        from supervisord_ng import worker
        with worker.attach() as w:
            w.beat()
            with w.idle():
                w.status("waiting")
                input()
            w.status("working")
            w.stopping.wait()
    """
    with Listening(short_dir) as daemon, daemon.start(program) as process:
        daemon.wait_for(Status)
        assert daemon.wait_for(Beat, len(daemon.of(Beat)) + 2).progress is None
        assert process.stdin is not None
        print(file=process.stdin, flush=True)
        daemon.wait_for(Status, 2)
        assert 2 == daemon.wait_for(Beat, len(daemon.of(Beat)) + 2).progress
        end(process)


def test_beating_ends_early_when_the_worker_shall_stop(short_dir: Path) -> None:
    """By SIGTERM or by the daemon's `stop`; the item in work is finished, none is lost."""
    program = """
        import itertools
        from supervisord_ng import worker
        numbers = itertools.count()
        with worker.attach() as w:
            w.ready()
            done = 0
            for number in w.beating(numbers):
                assert number == done
                done += 1
            assert next(numbers) == done
        print("stopped in order")
    """
    with Listening(short_dir) as daemon:
        with daemon.start(program) as process:
            daemon.wait_for(Ready)
            assert ("stopped in order\n", "") == end(process)
        with daemon.start(program) as process:
            daemon.wait_for(Ready, 2)
            assert daemon.call(lambda: daemon.server.send_stop(daemon.token, 5000))
            assert ("stopped in order\n", "") == process.communicate(timeout=60)


def test_sigterm_ends_who_does_not_look_at_stopping(short_dir: Path) -> None:
    """A worker that knows nothing of `stopping` is not made deaf by the SDK."""
    program = """
        import threading
        from supervisord_ng import worker
        w = worker.attach()
        w.ready()
        threading.Event().wait()
    """
    with Listening(short_dir) as daemon, daemon.start(program) as process:
        daemon.wait_for(Ready)
        assert ("", "") == end(process)

    assert -signal.SIGTERM == process.returncode


def test_an_existing_sigterm_handler_goes_on(short_dir: Path) -> None:
    """It is called after `stopping` is set, and is back in place after the end."""
    program = """
        import signal
        from supervisord_ng import worker
        def mine(number, frame):
            print("mine", w.stopping.is_set(), flush=True)
        signal.signal(signal.SIGTERM, mine)
        with worker.attach() as w:
            w.ready()
            w.stopping.wait()
        assert signal.getsignal(signal.SIGTERM) is mine
    """
    with Listening(short_dir) as daemon, daemon.start(program) as process:
        daemon.wait_for(Ready)
        assert ("mine True\n", "") == end(process)

    assert 0 == process.returncode


def test_a_fork_never_beats_for_its_parent(short_dir: Path) -> None:
    """Nothing of what the fork says or does arrives; what its parent says still does."""
    program = """
        import os
        from supervisord_ng import worker
        with worker.attach() as w:
            w.beat()
            child = os.fork()
            if child == 0:
                assert not w.supervised
                w.ready()
                w.status("of the child")
                for _ in range(1_000_000):
                    w.beat()
                raise SystemExit(3)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 3
            w.status("of the parent")
            w.stopping.wait()
    """
    with Listening(short_dir) as daemon:
        with daemon.start(program, PYTHONWARNINGS="ignore::DeprecationWarning") as process:
            daemon.wait_for(Status)
            daemon.wait_for(Beat, len(daemon.of(Beat)) + 2)
            assert ("", "") == end(process)
        daemon.wait_for(Stopping)

        assert [Status("of the parent")] == daemon.of(Status)
        assert ([], 1, 1) == (daemon.of(Ready), len(daemon.of(Hello)), len(daemon.of(Stopping)))
        assert {None, 1} >= {beat.progress for beat in daemon.of(Beat)}


def test_an_absent_daemon_holds_nobody_up(short_dir: Path) -> None:
    """No socket there: everything returns, nothing is kept, and the worker ends by itself."""
    program = """
        from supervisord_ng import worker
        with worker.attach() as w:
            w.ready()
            for number in range(100_000):
                w.beat()
                w.status(str(number))
            assert len(w._heart._owed) <= 3
        print("done")
    """
    endpoint = f"ipc://{short_dir}/absent.sock"
    with Program(program, SNG_HEARTBEAT=endpoint, SNG_TOKEN="t") as process:
        assert ("done\n", "") == process.communicate(timeout=60)

    assert 0 == process.returncode


def test_a_daemon_that_comes_back_hears_everything_again(short_dir: Path) -> None:
    """Who it is, that it is ready, its latest status; then beats."""
    action = "w.ready(); w.status('old'); w.status('new')"
    with Listening(short_dir) as daemon:
        token = daemon.token
        process = daemon.start(UNTIL_STOPPED.format(action=action))
        daemon.wait_for(Beat, 2)
    with process, Listening(short_dir, token=token) as daemon:
        daemon.wait_for(Beat, 2)
        assert ("", "") == end(process)
        daemon.wait_for(Stopping)

        told = [message for message in daemon.messages if not isinstance(message, Beat)]
        assert [Hello(process.pid), Ready(), Status("new"), Stopping()] == told
        assert 0 == daemon.server.rejected


def test_garbage_from_the_daemons_side_is_ignored(short_dir: Path) -> None:
    """Whatever comes down the line, the worker goes on and answers what makes sense."""
    with Listening(short_dir) as daemon, daemon.start(UNTIL_STOPPED.format(action="")) as process:
        daemon.wait_for(Beat)

        def send_garbage() -> None:
            server = daemon.server
            identity = server._workers[daemon.token.encode()].identity
            assert identity is not None
            token = daemon.token.encode()
            for frames in (
                [b""],
                [b"SNG1", token, b"stop", b"x"],
                [b"SNG1", b"other", b"stop", b"1"],
            ):
                server._socket.send_multipart([identity, *frames])
            server._send(token, Welcome(2**60))
            server.send_dump(daemon.token)

        daemon.call(send_garbage)
        assert ", in wait\n" in daemon.wait_for(Stacks).text
        assert daemon.call(lambda: daemon.server.send_dump(daemon.token))
        daemon.wait_for(Stacks, 2)
        assert process.poll() is None
        assert ("", "") == end(process)


def test_no_endpoint_is_an_error_at_once() -> None:
    """A worker that was given nonsense says so instead of running unseen."""
    program = "from supervisord_ng import worker\nworker.attach()"
    with Program(program, SNG_HEARTBEAT="nonsense", SNG_TOKEN="t") as process:
        _, err = process.communicate(timeout=60)

    assert (1, True) == (process.returncode, "ZMQError" in err)
