"""start, stop, restart, signal, shutdown, version: what is asked, what is printed, how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisord_ng import __version__
from supervisord_ng.errors import ControlError
from tests.cli.canned import canned, sng
from tests.support import eventually


def result(path: str, message: str | None, **more: Any) -> dict[str, Any]:
    """One result as the daemon sends it."""
    facts = {"ok": True, "code": "ok", "pid": None, "incarnation": None}
    return facts | {"path": path, "message": message} | more


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_an_order_goes_to_the_daemon(verb: str) -> None:
    """All paths in one request, waiting unless told otherwise."""
    with canned(**{verb: {"results": []}}) as daemon:
        assert daemon.sng(verb, "a", "root/pool").exit_code == 0
        assert daemon.sng(verb, "--no-wait", "all").exit_code == 0
    assert daemon.asked == [
        (verb, {"paths": ["a", "root/pool"], "wait": True}),
        (verb, {"paths": ["all"], "wait": False}),
    ]


def test_each_result_is_a_line() -> None:
    """What worked on standard output, what did not on standard error; one failure makes it 1."""
    answer = {
        "results": [
            result("root/a", "started", pid=17, incarnation=2),
            result("root/b", "already started", pid=18),
            result("root/c", None),
            result("root/d", "cannot start root/d: no such file: /x", ok=False, code="failed"),
            result("root/e", None, ok=False, code="restarting"),
        ]
    }
    with canned(start=answer) as daemon:
        said = daemon.sng("start", "all")
    assert said.stdout == "root/a: started, pid 17\nroot/b: already started, pid 18\nroot/c: ok\n"
    assert said.stderr == (
        "sng: cannot start root/d: no such file: /x\nsng: cannot start root/e: restarting\n"
    )
    assert said.exit_code == 1


def test_results_as_json() -> None:
    """The daemon's answer as it is; the exit status is the same."""
    answer = {"results": [result("root/a", "cannot stop root/a", ok=False, code="failed")]}
    with canned(stop=answer) as daemon:
        said = daemon.sng("stop", "a", "--json")
    assert json.loads(said.stdout) == answer
    assert said.exit_code == 1


def test_an_unknown_name_is_1() -> None:
    """Nothing is done, the hint is shown."""
    with canned(stop=ControlError("not_found", "no such worker: x", "did you mean y?")) as daemon:
        said = daemon.sng("stop", "x")
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr == "sng: no such worker: x (did you mean y?)\n"


def test_a_refusal_is_4() -> None:
    """Whoever may not is told apart from whatever failed."""
    with canned(stop=ControlError("denied", "cannot let uid 7 control this node")) as daemon:
        assert daemon.sng("stop", "x").exit_code == 4


@pytest.mark.parametrize("args", [("stop", "x"), ("shutdown",), ("logs", "x"), ("events",)])
def test_no_daemon_is_7(short_dir: Path, args: tuple[str, ...]) -> None:
    """LSB: the program is not running."""
    said = sng("--runtime-dir", str(short_dir), *args)
    assert (said.exit_code, said.stdout) == (7, "")
    assert said.stderr.startswith("sng: cannot reach a daemon on ")


@pytest.mark.parametrize(
    "args",
    [
        ("stop",),
        ("signal", "TERM"),
        ("signal", "NOSUCH", "x"),
        ("signal", "99", "x"),
        ("signal", "0", "x"),
        ("status", "--nonsense"),
        ("nonsense",),
        ("--node", "edge", "check", "tree.toml"),
        ("logs", "-n", "-1", "x"),
    ],
)
def test_wrong_usage_is_2(args: tuple[str, ...]) -> None:
    """Before any daemon is asked."""
    said = sng(*args)
    assert (said.exit_code, said.stdout) == (2, "")
    assert "Usage: sng" in said.stderr


@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "usr1", "10"])
def test_a_signal_has_many_names(name: str) -> None:
    """As for kill(1). It goes to all of the worker, with --main to its main process."""
    with canned(signal={"results": [result("root/a", "sent SIGUSR1")]}) as daemon:
        assert daemon.sng("signal", name, "a").stdout == "root/a: sent SIGUSR1\n"
        daemon.sng("signal", name, "a", "--main")
    assert daemon.asked == [
        ("signal", {"signal": 10, "paths": ["a"], "main": False}),
        ("signal", {"signal": 10, "paths": ["a"], "main": True}),
    ]


DAEMON = {"version": "9.9", "pid": 5, "node": "web-1", "python": "3.11.2", "protocol": 1}


def test_version_of_both() -> None:
    """Ours and the daemon's, which may be older."""
    with canned(version=DAEMON) as daemon:
        text = daemon.sng("version").stdout
        document = json.loads(daemon.sng("version", "--json").stdout)
    assert text == (
        f"sng {__version__}\ndaemon 9.9 of node web-1, pid 5, Python 3.11.2, control protocol 1\n"
    )
    assert document == {"version": __version__, "daemon": DAEMON}


def test_version_needs_no_daemon(short_dir: Path) -> None:
    """A missing daemon is no failure here."""
    said = sng("--runtime-dir", str(short_dir), "version")
    assert (said.exit_code, said.stdout) == (0, f"sng {__version__}\nno daemon\n")
    said = sng("--runtime-dir", str(short_dir), "version", "--json")
    assert json.loads(said.stdout) == {"version": __version__, "daemon": None}


def test_shutdown_without_waiting() -> None:
    """Answered as soon as it has begun."""
    with canned(shutdown={}) as daemon:
        said = daemon.sng("shutdown", "--now", "--no-wait")
    assert daemon.asked == [("shutdown", {"now": True, "all": False})]
    assert (said.exit_code, said.stdout) == (0, "shutting down\n")


ENDING = """
import asyncio, sys
from supervisord_ng.control.server import ControlServer

async def main():
    ending = asyncio.Event()

    async def handle(caller, request):
        assert request.verb == "shutdown"
        asyncio.get_running_loop().call_soon(ending.set)
        return {}

    server = ControlServer(sys.argv[1], handle)
    await server.start()
    print("up", flush=True)
    await ending.wait()
    await server.close()

asyncio.run(main())
"""


def test_shutdown_returns_when_the_daemon_is_gone(short_dir: Path) -> None:
    """Not when the request is answered, and not when only the socket is closed."""
    command = [sys.executable, "-c", ENDING, f"{short_dir}/control.sock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            assert daemon.stdout.readline() == "up\n"
            said = sng("--runtime-dir", str(short_dir), "shutdown")
            assert (said.exit_code, said.stdout) == (0, "shut down\n")
            ended, _ = os.waitpid(daemon.pid, os.WNOHANG)
            assert ended == daemon.pid
            daemon.returncode = 0
        finally:
            daemon.kill()


INTERRUPTED = """
import signal
from supervisord_ng.cli.main import main
from supervisord_ng.control.client import Client

Client._line = lambda *_: signal.raise_signal(signal.SIGINT)
main()
"""


def test_an_interrupted_wait_leaves_the_order_in_progress() -> None:
    """Ctrl-C ends sng with 130, as a shell expects; what the daemon does it does on."""
    with canned(version=DAEMON, stop={"results": []}) as daemon:
        command = [
            sys.executable,
            "-c",
            INTERRUPTED,
            "--runtime-dir",
            daemon.serving.runtime_dir,
            "stop",
            "x",
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        eventually(lambda: daemon.asked, "the order to arrive")
    assert (said.returncode, said.stdout) == (130, "")
    assert "Traceback" not in said.stderr


def test_help_lists_every_verb_in_the_order_of_need() -> None:
    """``sng --help`` is the table of contents."""
    listed = [
        line.split()[0] for line in sng("--help").stdout.partition("Commands:\n")[2].splitlines()
    ]
    expected = (
        "init check simulate run status top start stop restart signal scale start-child delete"
    )
    last = (
        "diff reload logs events crashes shutdown upgrade keygen service import completion version"
    )
    assert [*expected.split(), *last.split()] == listed


@pytest.mark.parametrize(
    "verb",
    [
        *"init check status start stop restart signal logs tail events shutdown version".split(),
        "crashes list",
        "crashes show",
        "crashes stats",
    ],
)
def test_every_verb_that_prints_has_json(verb: str) -> None:
    """The option is called the same everywhere."""
    said = sng(*verb.split(), "--help")
    assert said.exit_code == 0
    assert "--json" in said.stdout
