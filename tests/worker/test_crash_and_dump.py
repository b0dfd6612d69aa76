"""What the SDK tells of a worker's end and of a worker that hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisord_ng.wire.heartbeat import Crash, Ready, Stacks, Stopping
from tests.listening import Listening, Program
from tests.support import eventually

pytestmark = pytest.mark.process

CRASHES = {
    "leaves the with": """
        from supervisord_ng import worker
        def divide(by):
            return 1 / by
        with worker.attach() as w:
            divide(0)
    """,
    "at top level": """
        from supervisord_ng import worker
        w = worker.attach()
        def divide(by):
            return 1 / by
        divide(0)
    """,
    "in a thread": """
        import threading
        from supervisord_ng import worker
        w = worker.attach()
        def divide(by):
            return 1 / by
        thread = threading.Thread(target=divide, args=(0,))
        thread.start()
        thread.join()
    """,
    "leaves the async with": """
        import asyncio
        from supervisord_ng import worker
        def divide(by):
            return 1 / by
        async def main():
            async with worker.attach_async() as w:
                await asyncio.sleep(0)
                divide(0)
        asyncio.run(main())
    """,
    "in a forgotten task": """
        import asyncio, gc
        from supervisord_ng import worker
        async def divide(by):
            return 1 / by
        async def main():
            async with worker.attach_async() as w:
                asyncio.create_task(divide(0))
                await asyncio.sleep(0.01)
                gc.collect()
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("where", CRASHES)
def test_an_uncaught_exception_arrives_with_its_traceback(short_dir: Path, where: str) -> None:
    """Wherever it is raised; and it is still shown on standard error, as without SDK."""
    with Listening(short_dir) as daemon:
        with daemon.start(CRASHES[where]) as process:
            _, err = process.communicate(timeout=60)
        daemon.wait_for(Stopping)
        (crash,) = daemon.of(Crash)

    assert ("ZeroDivisionError", "division by zero") == (crash.type, crash.message)
    assert crash.traceback.startswith("Traceback (most recent call last):\n")
    assert ", in divide\n" in crash.traceback
    assert "ZeroDivisionError: division by zero" in err
    assert ("in a" in where) == (process.returncode == 0)


def test_an_orderly_exit_is_no_crash(short_dir: Path) -> None:
    """sys.exit() with any status, and an exception that the worker catches itself."""
    program = """
        import sys
        from supervisord_ng import worker
        with worker.attach() as w:
            w.ready()
            try:
                1 / 0
            except ZeroDivisionError:
                sys.exit(7)
    """
    with Listening(short_dir) as daemon:
        with daemon.start(program) as process:
            assert ("", "") == process.communicate(timeout=60)
        daemon.wait_for(Stopping)

        assert (7, []) == (process.returncode, daemon.of(Crash))


def test_an_exception_that_cannot_speak_is_reported_all_the_same(short_dir: Path) -> None:
    """A __str__ that raises, a class of a module, a message that no terminal should see."""
    program = r"""
        from supervisord_ng import worker
        class Mute(Exception):
            def __str__(self):
                raise KeyError("no words")
        with worker.attach() as w:
            raise Mute
    """
    with Listening(short_dir) as daemon:
        with daemon.start(program) as process:
            process.communicate(timeout=60)
        crash = daemon.wait_for(Crash)

    assert "__main__.Mute" == crash.type
    assert "<__main__.Mute whose str() raised KeyError>" == crash.message


def test_a_crash_without_a_daemon_waits_only_a_moment(short_dir: Path) -> None:
    """The exception is shown and the process ends, though nobody takes its last words."""
    endpoint = f"ipc://{short_dir}/absent.sock"
    with Program(CRASHES["leaves the with"], SNG_HEARTBEAT=endpoint, SNG_TOKEN="t") as process:
        _, err = process.communicate(timeout=60)

    assert (1, True) == (process.returncode, "ZeroDivisionError" in err)


def test_a_segfault_leaves_its_stack_in_the_log(short_dir: Path) -> None:
    """The SDK arms faulthandler, so the log, and with it the report, shows the line."""
    program = """
        import os, signal
        from supervisord_ng import worker
        with worker.attach() as w:
            def fall_over():
                os.kill(os.getpid(), signal.SIGSEGV)
            fall_over()
    """
    with Listening(short_dir) as daemon, daemon.start(program) as process:
        _, err = process.communicate(timeout=60)

    assert "Fatal Python error: Segmentation fault" in err
    assert " in fall_over" in err


HANGS = {
    "an endless loop": "while True: pass",
    "a lock that it holds itself": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "a sleep": "time.sleep(3600)",
    "a read": "os.read(os.pipe()[0], 1)",
}


@pytest.mark.parametrize("how", HANGS)
def test_a_hung_worker_says_where_it_hangs(short_dir: Path, how: str) -> None:
    """`dump` is answered by the stacks of all threads, the main thread first."""
    program = f"""
        import os, threading, time
        from supervisord_ng import worker
        def hang():
            {HANGS[how]}
        def helper():
            threading.Event().wait()
        with worker.attach() as w:
            threading.Thread(target=helper, name="helper", daemon=True).start()
            w.ready()
            hang()
    """
    with Listening(short_dir) as daemon, daemon.start(program):
        daemon.wait_for(Ready)

        def seen() -> str | None:
            daemon.call(lambda: daemon.server.send_dump(daemon.token))
            stacks = [found.text for found in daemon.of(Stacks) if ", in hang\n" in found.text]
            return stacks[0] if stacks else None

        text = eventually(seen, "the function it hangs in")

    assert text is not None
    assert text.startswith("Thread MainThread (most recent call last):\n")
    assert "Thread helper (most recent call last):\n" in text
    assert "supervisord-ng-heart" not in text


def test_a_hung_event_loop_shows_its_tasks(short_dir: Path) -> None:
    """Every task down to the line that it waits in, beside the stacks of the threads."""
    program = """
        import asyncio
        from supervisord_ng import worker
        async def wait_for_nothing():
            await asyncio.get_running_loop().create_future()
        async def outermost():
            async with asyncio.timeout(1000):
                await wait_for_nothing()
        async def main():
            async with worker.attach_async() as w:
                task = asyncio.create_task(outermost(), name="forlorn")
                w.ready()
                await task
        asyncio.run(main())
    """
    with Listening(short_dir) as daemon, daemon.start(program):
        daemon.wait_for(Ready)

        def seen() -> bool:
            daemon.call(lambda: daemon.server.send_dump(daemon.token))
            return any("in wait_for_nothing" in found.text for found in daemon.of(Stacks))

        eventually(seen, "the coroutine it hangs in")
        (text, *_) = (found.text for found in daemon.of(Stacks) if "forlorn" in found.text)
        task = text[text.index("Task forlorn (most recent call last):") :]
        assert 0 < task.index("in outermost") < task.index("in wait_for_nothing")


def test_asyncio_can_await_the_stop(short_dir: Path) -> None:
    """SIGTERM and `stop` wake all who wait for it; so does a stop that came before the question."""
    program = """
        import asyncio
        from supervisord_ng import worker
        async def main():
            async with worker.attach_async() as w:
                w.ready()
                await asyncio.gather(w.wait_stopping(), w.wait_stopping())
                await w.wait_stopping()
        asyncio.run(main())
        print("stopped in order")
    """
    with Listening(short_dir) as daemon:
        for number, by_signal in enumerate((True, False), start=1):
            with daemon.start(program) as process:
                daemon.wait_for(Ready, number)
                if by_signal:
                    process.terminate()
                else:
                    assert daemon.call(lambda: daemon.server.send_stop(daemon.token, 1000))
                assert ("stopped in order\n", "") == process.communicate(timeout=60)
        daemon.wait_for(Stopping, 2)
        assert [] == daemon.of(Crash)
