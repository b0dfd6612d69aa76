"""The worker in Node.js: supervised by the frames alone, as its README says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.daemon.node import REPOSITORY, Node
from tests.daemon.services import free_ports
from tests.needs import require_program
from tests.support import eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]

EXAMPLE = REPOSITORY / "examples/node-worker"
WAIT_S = 60.0
INSTALL_TIMEOUT_S = 100


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with its packages."""
    require_program("node")
    copy = tmp_path_factory.mktemp("node") / "worker"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("node_modules"))
    command = [require_program("npm"), "ci", "--no-audit", "--no-fund"]
    try:
        subprocess.run(
            command, cwd=copy, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        told = (error.stderr or b"").decode()
        if isinstance(error, subprocess.TimeoutExpired) or "network" in told or "ENOTFOUND" in told:
            pytest.skip(f"this host cannot reach npm's registry: {told[:200]}")
        raise
    return copy


def tree(example: Path, port: int, name: str) -> str:
    """The example's own worker, at another port and with a shorter patience."""
    text = (example / "tree.toml").read_text()
    changes = {
        "[worker.fibonacci]": f"[worker.{name}]",
        # Debian's or nvm's: what this shell finds, whatever a clean environment would.
        '"node"': f'"{require_program("node")}"',
        'directory = "."': f'directory = "{example}"',
        '"8080"': f'"{port}"',
        'interval = "1s", timeout = "5s"': 'interval = "200ms", timeout = "3s"',
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def page(port: int, path: str, timeout_s: float = WAIT_S) -> str:
    """What a visitor sees; the kind of the error where there is no answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout_s) as answer:
            return bytes(answer.read()).decode()
    except OSError as error:  # urllib's are some of these
        return type(error).__name__


def test_it_works_crashes_hangs_and_ends(short_dir: Path, installed: Path) -> None:
    """Ready and alive by its own word; what goes wrong is found, reported and healed."""
    ports = free_ports(2)
    workers = dict(zip(("one", "two"), ports, strict=True))
    both = "".join(tree(installed, port, name) for name, port in workers.items())
    with Node(short_dir, both) as node:
        node.wait_up(WAIT_S)
        assert "832040\n" == page(ports[0], "/30")
        eventually(lambda: node.row("one")["status_text"] == "1 answered", "its status")
        eventually(lambda: node.row("one")["beat_age_s"] is not None, "a beat")
        assert (0, []) == (node.status()["rejected"]["heartbeat"], node.crashes())

        page(ports[0], "/crash")
        report = eventually(node.crashes, "a report", WAIT_S)[0]
        assert ("exit:1", "restart") == (report["reason"], report["decision"])
        assert report["message"].startswith("SyntaxError: ")
        assert "worker.js" in eventually(lambda: node.crashes()[0]["traceback"], "the stack")
        eventually(lambda: page(ports[0], "/10") == "55\n", "it serves again", WAIT_S)

        # In a loop, where no beat is sent, and in a job that never ends, where beats carry no progress.
        hanging = set(node.pids().values())
        page(ports[0], "/spin", timeout_s=0.5)
        page(ports[1], "/forget", timeout_s=0.5)
        eventually(lambda: len(node.crashes()) == 3, "two more reports", WAIT_S)
        hangs = node.crashes()[1:]
        assert {"heartbeat_timeout"} == {report["reason"] for report in hangs}
        assert hanging == {report["pid"] for report in hangs}
        assert all("(node)" in report["stacks"] for report in hangs)
        eventually(lambda: {page(port, "/10") for port in ports} == {"55\n"}, "both serve", WAIT_S)

        node.ask("stop", paths=["all"])
        assert {"exit:0"} == {node.row(name)["last_exit"] for name in workers}
        assert 3 == len(node.crashes())


def test_by_hand_it_does_the_same_work(installed: Path) -> None:
    """Without a supervisor: nobody is spoken to, and SIGTERM ends it."""
    (port,) = free_ports(1)
    environment = {"PATH": os.environ["PATH"], "PORT": str(port)}
    command = [require_program("node"), "worker.js"]
    with subprocess.Popen(
        command, cwd=installed, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert f"serving on http://127.0.0.1:{port}/\n" == process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert ("stopping\n", 0) == (process.stdout.read(), process.wait(WAIT_S))
