"""The workers in C and shell: supervised by systemd's protocol alone, as their README says."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.node import REPOSITORY, Node
from tests.needs import require_program
from tests.support import eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]

EXAMPLE = REPOSITORY / "examples/notify-worker"
WAIT_S = 60.0
STRICT = ["-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-pedantic", "-Werror"]


@pytest.fixture
def tree(short_dir: Path) -> str:
    """A copy of the example, built; its tree with a shorter patience."""
    require_program("systemd-notify")
    for name in ("notify.h", "primes.c", "watch.sh"):
        shutil.copy(EXAMPLE / name, short_dir)
    build = [require_program("cc"), "-O2", *STRICT, "-o", "primes", "primes.c"]
    subprocess.run(build, cwd=short_dir, check=True)
    text = (EXAMPLE / "tree.toml").read_text()
    assert 'timeout = "5s"' in text
    return text.replace('timeout = "5s"', 'timeout = "3s"')


def status_text(node: Node, name: str) -> str:
    """What the worker says of itself."""
    return str(node.row(name)["status_text"])


def last_crash(node: Node, count: int) -> dict[str, Any]:
    """The last of so many reports, once they are there."""
    eventually(lambda: len(node.crashes()) == count, f"{count} reports", WAIT_S)
    return node.crashes()[-1]


def test_they_work_crash_hang_and_end(short_dir: Path, tree: str) -> None:
    """Ready and alive by their own word; what goes wrong is found, reported and healed."""
    with Node(short_dir, tree) as node:
        node.wait_up(WAIT_S)
        eventually(lambda: "primes below" in status_text(node, "primes"), "it counts")
        eventually(lambda: status_text(node, "watch").endswith("% used"), "it watches")
        assert (0, []) == (node.status()["rejected"]["notify"], node.crashes())

        node.ask("signal", paths=["primes"], signal=signal.SIGSEGV)
        assert "signal:SIGSEGV" == last_crash(node, 1)["reason"]
        eventually(lambda: "primes below" in status_text(node, "primes"), "it counts", WAIT_S)

        before = node.pids()
        node.ask("signal", paths=["primes"], signal=signal.SIGUSR1)
        node.ask("signal", paths=["watch"], signal=signal.SIGSTOP)
        last_crash(node, 3)
        hangs = {report["worker"]: report for report in node.crashes()[1:]}
        assert {"heartbeat_timeout"} == {report["reason"] for report in hangs.values()}
        assert before == {name: report["pid"] for name, report in hangs.items()}
        assert "(primes): R" in hangs["primes"]["stacks"]
        assert "stopped" in hangs["watch"]["stacks"]
        eventually(lambda: "primes below" in status_text(node, "primes"), "it counts", WAIT_S)
        eventually(lambda: status_text(node, "watch").endswith("% used"), "it watches", WAIT_S)

        node.ask("stop", paths=["all"])
        assert {"exit:0"} == {node.row(name)["last_exit"] for name in before}
        assert (0, 3) == (node.status()["rejected"]["notify"], len(node.crashes()))
    assert "no longer watching .\n" in (node.state_dir / "log/watch.log").read_text()


@pytest.mark.parametrize("program", ["primes", "watch.sh"])
def test_by_hand_they_do_the_same_work(short_dir: Path, tree: str, program: str) -> None:
    """Without $NOTIFY_SOCKET nobody is spoken to."""
    with subprocess.Popen(
        [f"./{program}"], cwd=short_dir, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() in ("counting\n", "watching .\n")
        process.terminate()
        assert 0 == process.wait(WAIT_S)
