"""``sng status -w``, and the names that a shell completes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.canned import canned, node, sng, supervisor, worker
from tests.support import eventually

SNG = [sys.executable, "-m", "supervisord_ng.cli.main"]
TREE = node(supervisor("root"), worker("root/queue", pid=813), worker("root/quiet", pid=814))
END_S = 60.0


def end(process: subprocess.Popen[str]) -> int:
    """Ctrl-C, and how it exits."""
    process.send_signal(signal.SIGINT)
    return process.wait(END_S)


@pytest.mark.process
def test_a_terminal_is_drawn_over_and_left_as_it_was() -> None:
    """Again and again from the top; afterwards the screen, the cursor and long lines are back."""
    with canned(status=TREE) as daemon:
        ours, theirs = pty.openpty()
        command = [*SNG, "--runtime-dir", daemon.serving.runtime_dir, "status", "-w"]
        environment = os.environ | {"TERM": "xterm"}
        with subprocess.Popen(
            command, stdin=theirs, stdout=theirs, text=True, env=environment
        ) as process:
            os.close(theirs)
            seen = b""

            def drawn_twice() -> bool:
                nonlocal seen
                seen += os.read(ours, 65536)
                return seen.count(b"\x1b[H") == 2

            eventually(drawn_twice, "two pictures", END_S)
            assert 0 == end(process)
            seen += os.read(ours, 65536)
        os.close(ours)
    assert seen.startswith(b"\x1b[?1049h\x1b[?25l\x1b[?7l")
    assert seen.endswith(b"\x1b[?7h\x1b[?25h\x1b[?1049l")
    assert 2 == seen.count(b"node web-1") == seen.count(b"queue")


@pytest.mark.process
def test_a_pipe_gets_one_object_a_line() -> None:
    """For programs; an end of the daemon is one of them, and not the end."""
    with canned(status=TREE) as daemon:
        command = [*SNG, "--runtime-dir", daemon.serving.runtime_dir, "status", "-w", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "web-1" == json.loads(process.stdout.readline())["node"]
    while "error" not in (document := json.loads(process.stdout.readline())):
        pass
    assert "cannot reach a daemon" in document["error"]
    with process:
        assert 0 == end(process)


def test_without_a_daemon_there_is_nothing_to_watch(short_dir: Path) -> None:
    """As without -w."""
    assert 4 == sng("--runtime-dir", str(short_dir), "status", "-w").exit_code


def completed(*words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    environment = os.environ | {
        "_SNG_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    answer = subprocess.run(SNG, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [line.partition(",")[2] for line in answer.stdout.splitlines() if line]


@pytest.mark.process
def test_names_are_completed(short_dir: Path) -> None:
    """None without a daemon; with one its names, or paths once there is a slash."""
    nobody = ["sng", "--runtime-dir", str(short_dir), "stop", "qu"]
    assert [] == completed(*nobody)
    with canned(status=TREE) as daemon:
        options = ["--runtime-dir", daemon.serving.runtime_dir]
        assert ["queue", "quiet"] == completed("sng", *options, "stop", "qu")
        assert ["root/queue"] == completed("sng", *options, "logs", "root/que")
