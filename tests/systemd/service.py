"""One tree as a service of the machine: an instance of the template unit, which is installed once."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from tests.systemd.conftest import Installation
from tests.systemd.machine import Machine


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
        self.machine.systemctl("start", self.unit)

    def show(self, key: str) -> str:
        """One property of the unit."""
        return self.machine.show(self.unit, key)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows of its status by name."""
        directory = ("--runtime-dir", self.runtime_dir)
        asked = self.machine.run(
            str(self._installation.sng), *directory, "status", "--json", check=False
        )
        assert asked.stdout, asked.stderr
        return {row["name"]: row for row in json.loads(asked.stdout)["children"]}

    def pids(self) -> dict[str, int]:
        """The pids of its workers."""
        return {name: row["pid"] for name, row in self.rows().items() if row["pid"] is not None}
