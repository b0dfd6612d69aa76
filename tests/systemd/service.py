"""One tree as a service of the machine: an instance of the template unit, which is installed once."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

import psutil

from tests.support import eventually
from tests.systemd.conftest import Installation
from tests.systemd.machine import DONE_TIMEOUT_S, Machine

TWO = """
[supervisor.root]
strategy = "one_for_all"
children = ["first", "second"]

[worker.first]
command = ["sh", "-c", "(setsid sleep 86401 &) ; exec sleep 86402"]

[worker.second]
command = ["sleep", "86403"]
"""
SLEEPERS = ["86401", "86402", "86403"]
"""What its processes are asked to sleep, for `Service.sleepers`."""


class Service:
    """supervisord-ng@NAME. Used as a context: nothing of it is left when the context is left.

    Args:
        machine: where it runs.
        installation: of the package.
        name: of the instance.
        tree: the text of its file.
        settings: of its unit that differ, for short waits.
    """

    def __init__(
        self, machine: Machine, installation: Installation, name: str, tree: str, settings: str = ""
    ) -> None:
        self.machine = machine
        self.unit = f"supervisord-ng@{name}.service"
        self.runtime_dir = f"/run/supervisord-ng-{name}"
        self._installation = installation
        self.tree = machine.path(f"/etc/supervisord-ng/{name}.toml")
        self.tree.parent.mkdir(exist_ok=True)
        self.tree.write_text(tree)
        machine.run(str(installation.sng), "service", "install", "--template")
        machine.unit(f"{self.unit}.d/test.conf", settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.machine.systemctl("kill", "--signal=KILL", self.unit, check=False)
        self.machine.systemctl("stop", self.unit)
        self.machine.systemctl("reset-failed", self.unit, check=False)

    def start(self) -> None:
        """Start it; returns when it is up."""
        started = self.machine.run("systemctl", "start", self.unit, check=False)
        assert 0 == started.returncode, self.machine.journal(self.unit)

    def show(self, key: str) -> str:
        """One property of the unit."""
        return self.machine.show(self.unit, key)

    def wait_restarted(self, count: int) -> None:
        """Wait until systemd has started it again so many times, and it is up."""
        eventually(lambda: self.show("NRestarts") == str(count), f"restart {count}", DONE_TIMEOUT_S)
        self.machine.wait(self.unit, "active", "running")

    def sleepers(self) -> list[str]:
        """How long those of its processes sleep that are called sleep."""
        asked = [psutil.Process(pid).cmdline() for pid in self.machine.processes(self.unit)]
        return sorted(args[1] for args in asked if args[:1] == ["sleep"])

    def sng(self, *arguments: str, check: bool = True) -> str:
        """What sng says about this tree."""
        directory = ("--runtime-dir", self.runtime_dir)
        sng = str(self._installation.sng)
        return self.machine.run(sng, *directory, *arguments, check=check).stdout

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows of its status by name."""
        answer = json.loads(self.sng("status", "--json", check=False))
        return {row["name"]: row for row in answer["children"]}

    def pids(self) -> dict[str, int]:
        """The pids of its workers."""
        return {name: row["pid"] for name, row in self.rows().items() if row["pid"] is not None}
