"""One boot, and one installation out of the wheel, for all tests in this folder."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import LENT, Machine

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session", autouse=True)
def machine() -> Iterator[Machine]:
    """A booted systemd."""
    booted = Machine()
    yield booted
    booted.close()


class Installation:
    """The wheel, in a virtual environment that the machine sees, away from the sources."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = directory / "bin" / "python"
        self.sng = directory / "bin" / "sng"
        self.daemon = directory / "bin" / "supervisord-ng"


@pytest.fixture(scope="session")
def installation(machine: Machine) -> Installation:
    """The package as a user installs it. Only what it depends on is lent by the tests' own environment."""
    wheels = machine.shared / "wheels"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(wheels)]
    subprocess.run([*pip, *build, str(REPOSITORY)], check=True)
    made = Installation(machine.shared / "venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made.directory)], check=True)
    install = ["--python", str(made.python), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, *install, *map(str, wheels.glob("*.whl"))], check=True)
    # .pth files in a directory that comes by one are not read, so the sources stay unknown.
    lent = sysconfig.get_path("purelib", vars={"base": str(made.directory)})
    Path(lent, "lent.pth").write_text(f"{LENT}\n")
    return made
