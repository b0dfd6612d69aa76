"""A whole daemon with a tree of its own, for tests: started, asked, and ended by its own handle."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from supervisord_ng.control.client import Client
from supervisord_ng.errors import NoDaemonError
from supervisord_ng.model import paths
from supervisord_ng.runtime import keeper, leftovers
from tests.support import eventually, is_alive

REPOSITORY = Path(__file__).parent.parent.parent
END_TIMEOUT_S = 20.0


class Node:
    """One daemon. Used as a context: it is ended, and its workers with it, when the context is left.

    `network` is the network namespace that it lives in, None: that of the test.
    """

    def __init__(self, directory: Path, tree: str, network: str | None = None) -> None:
        self.directory = directory
        self._network = network
        self.tree = directory / "tree.toml"
        self.tree.write_text(tree)
        self.runtime_dir = directory / "run"
        self.state_dir = directory / "state"
        self.stderr = directory / "stderr"
        self._process: subprocess.Popen[bytes] | None = None
        self._ended_with: list[int] = []  # exit statuses of the daemons before this one
        self._workers: set[int] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        assert process is not None
        if process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGTERM)  # the second one kills what is left
                process.wait(END_TIMEOUT_S)
        # A daemon that was killed has left its workers behind for the next one, and the keeper of their output;
        # the next one may have failed to begin.
        if -signal.SIGKILL in (process.returncode, *self._ended_with):
            leftovers.end_leftovers(f"ipc://{self.runtime_dir / paths.HEARTBEAT_SOCKET}")
        output = str(self.runtime_dir / paths.OUTPUT_DIRECTORY)
        assert not keeper.end(output, keeper.everyone(output))

    def start(self) -> None:
        """Start the daemon; returns at once."""
        if self._process is not None:
            self._ended_with.append(self._process.wait(END_TIMEOUT_S))
        inside = ["nsenter", f"--net=/run/netns/{self._network}"] if self._network else []
        command = [
            *inside,
            *(sys.executable, "-m", "supervisord_ng", "-c", str(self.tree)),
            *("--runtime-dir", str(self.runtime_dir), "--state-dir", str(self.state_dir)),
        ]
        with self.stderr.open("ab") as stderr:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr
            )

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send the daemon a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def crash(self) -> None:
        """kill -9 of the daemon, and of nothing else."""
        self.signal(signal.SIGKILL)
        self.ends()

    def ends(self, timeout_s: float = END_TIMEOUT_S) -> int:
        """Wait for the daemon's end; return its exit status."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def ask(self, verb: str, **args: Any) -> Any:
        """One request on the control socket."""
        with Client(str(self.runtime_dir)) as client:
            return client.request(verb, args, timeout_s=None)

    def events(self) -> list[dict[str, Any]]:
        """What was decided so far."""
        with Client(str(self.runtime_dir)) as client:
            return list(client.stream("events", {}))

    def crashes(self) -> list[dict[str, Any]]:
        """The crash reports, oldest first."""
        found: list[dict[str, Any]] = self.ask("crashes.list")["reports"]
        return found[::-1]

    def status(self) -> dict[str, Any]:
        """The whole status; remembers every worker's pid for `left_running`."""
        status: dict[str, Any] = self.ask("status")
        self._workers |= {row["pid"] for row in status["children"] if row["pid"] is not None}
        return status

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows of status by name."""
        return {row["name"]: row for row in self.status()["children"]}

    def row(self, name: str) -> dict[str, Any]:
        """The row of one child."""
        return self.rows()[name]

    def pids(self) -> dict[str, int]:
        """The pids of all workers that have one."""
        return {name: row["pid"] for name, row in self.rows().items() if row["pid"] is not None}

    def is_up(self) -> bool:
        """Whether the root supervisor has started all of its children."""
        try:
            return bool(self.row("root")["ready"])
        except NoDaemonError:
            return False

    def wait_up(self, timeout_s: float = 20.0) -> Self:
        """Wait until the tree is up."""
        eventually(self._up_or_dead, f"the tree is up; stderr: {self.stderr}", timeout_s)
        return self

    def wait_answering(self, timeout_s: float = 20.0) -> Self:
        """Wait until the daemon answers; its tree may be on its way up."""
        eventually(self._answers, f"the daemon answers; stderr: {self.stderr}", timeout_s)
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.status())
        except NoDaemonError:  # the socket is bound a moment before anybody listens there
            return False

    def _up_or_dead(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the daemon has ended: {self.stderr.read_text()}")
        return self.is_up()

    def left_running(self) -> list[int]:
        """Those workers ever seen by `status` that still exist."""
        return [pid for pid in sorted(self._workers) if is_alive(pid)]
