"""``sng top``: what it shows of a daemon's answers, and what its keys ask for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import DataTable, Log, Static

from supervisord_ng.cli.top_app import Question, Rates, Top
from supervisord_ng.control.client import Client
from supervisord_ng.errors import ControlError
from supervisord_ng.model.status import State
from tests.cli.canned import Canned, canned, node, sng, supervisor, worker
from tests.daemon.node import Node
from tests.support import eventually

TREE = node(
    supervisor("root", uptime_s=60.0),
    worker("root/queue", pid=813, uptime_s=60.0, beat_age_s=0.42, status_text="job\x1b[2J 7"),
    worker("root/tool", State.STOPPED, last_exit="exit:1", restarts=3),
)
USAGE = {
    "workers": [
        {"path": "root/queue", "pid": 813, "cpu_s": 2.5, "rss_bytes": 3 << 20, "processes": 2}
    ]
}
DONE = {"results": [{"path": "root/queue", "message": "ordered"}]}
WAIT_S = 60.0


def play(daemon: Canned, scene: Callable[[Top, Pilot[None]], Awaitable[None]]) -> None:
    """Run it without a terminal, on the answers of this daemon."""
    directory = daemon.serving.runtime_dir

    async def run() -> None:
        app = Top(lambda: Client(directory), [])
        async with app.run_test(size=(120, 20)) as pilot:
            await until(pilot, lambda: bool(table(app).row_count))
            await scene(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], seen: Callable[[], bool]) -> None:
    """Let it go on until something is seen."""
    async with asyncio.timeout(WAIT_S):
        while not seen():
            await pilot.pause(0.01)


def table(app: Top) -> DataTable[Text]:
    """The tree."""
    return app.screen_stack[0].query_one(DataTable)


def line(app: Top, path: str) -> list[str]:
    """One line of it."""
    return [str(cell) for cell in table(app).get_row(path)]


def said(app: Top) -> str:
    """The line at its foot."""
    return str(app.screen_stack[0].query_one("#said", Static).render())


def asked(daemon: Canned, verb: str) -> list[dict[str, object]]:
    """What the daemon was asked with this verb."""
    return [args for name, args in daemon.asked if name == verb]


def test_the_tree_is_shown_with_what_it_uses() -> None:
    """Indented names, states, memory; nothing of a worker's that moves a cursor."""

    async def scene(app: Top, pilot: Pilot[None]) -> None:
        queue = ["  queue", "running", "813", "0:01:00", "-", "3.0 M", "0", "0.4s"]
        assert [*queue, r"job\x1b[2J 7"] == line(app, "root/queue")
        tool = ["  tool", "stopped", "-", "-", "-", "-", "3", "-", "exit:1"]
        assert tool == line(app, "root/tool")
        # The next look finds the same CPU time: nothing was done meanwhile.
        await until(pilot, lambda: line(app, "root/queue")[4] == "0.0")

    with canned(status=TREE, usage=USAGE) as daemon:
        play(daemon, scene)


def test_keys_order_what_the_cursor_is_on() -> None:
    """A start at once, a stop and a restart after a question that can be denied."""

    async def scene(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("down", "s")
        await until(pilot, lambda: said(app) == "start root/queue: ordered")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("n")
        await pilot.press("down", "r")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("y")
        await until(pilot, lambda: said(app).startswith("restart root/tool: "))

    with canned(status=TREE, usage=USAGE, start=DONE, stop=DONE, restart=DONE) as daemon:
        play(daemon, scene)
        assert [{"paths": ["root/queue"], "wait": False}] == asked(daemon, "start")
        assert [] == asked(daemon, "stop")
        assert [{"paths": ["root/tool"], "wait": False}] == asked(daemon, "restart")


def test_a_refusal_is_shown() -> None:
    """And the tree goes on."""

    async def scene(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("s")
        await until(pilot, lambda: said(app) == "supervisor is stopping")

    refusal = ControlError("shutting_down", "supervisor is stopping")
    with canned(status=TREE, usage=USAGE, start=refusal) as daemon:
        play(daemon, scene)


def test_usage_becomes_a_rate_of_the_same_process_only() -> None:
    """CPU time since the look before; of a new process nothing is known yet."""
    rates = Rates()
    first = {"path": "a", "pid": 1, "cpu_s": 5.0}
    assert {} == rates.add([first], 10.0)
    assert {"a": 50.0} == rates.add([first | {"cpu_s": 6.0}], 12.0)
    assert {} == rates.add([first | {"pid": 2, "cpu_s": 0.1}], 14.0)
    assert {"a": 0.0} == rates.add([first | {"pid": 2, "cpu_s": 0.0}], 16.0)


def test_without_a_terminal_it_says_so(short_dir: Path) -> None:
    """Wrong usage, with what to use instead."""
    result = sng("--runtime-dir", str(short_dir), "top")
    assert 2 == result.exit_code
    assert "not a terminal (see: sng status -w)" in result.stderr


@pytest.mark.process
def test_a_daemon_says_what_its_workers_use(short_dir: Path) -> None:
    """Of a worker with its child; and the log is shown over the tree."""
    work = "while True: sum(range(9999)), time.sleep(0.01)"
    program = f"import os, time\nprint('here', flush=True)\nos.fork()\n{work}"
    tree = f"[worker.pair]\ncommand = ['{sys.executable}', '-c', '''{program}''']\n"
    with Node(short_dir, tree) as running:
        running.wait_up()

        def pair() -> bool:
            (one,) = running.ask("usage")["workers"]
            mine = ("root/pair", running.pids()["pair"]) == (one["path"], one["pid"])
            return mine and one["processes"] == 2 and one["rss_bytes"] > 1 << 20

        eventually(pair, "two processes", WAIT_S)
        eventually(lambda: running.ask("usage")["workers"][0]["cpu_s"] > 0, "CPU time", WAIT_S)

        async def run() -> None:
            app = Top(lambda: Client(str(running.runtime_dir)), [])
            async with app.run_test(size=(120, 20)) as pilot:
                await until(pilot, lambda: bool(table(app).row_count))
                await pilot.press("down", "l")
                await until(pilot, lambda: bool(app.screen.query(Log)))
                await until(pilot, lambda: list(app.screen.query_one(Log).lines)[:1] == ["here"])
                await pilot.press("escape")
                await until(pilot, lambda: len(app.screen_stack) == 1)

        asyncio.run(run())
