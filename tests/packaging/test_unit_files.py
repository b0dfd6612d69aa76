"""The unit files as files: what systemd says of them without running them, and that they agree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.needs import require_program

UNITS = Path(__file__).parent.parent.parent / "systemd"
SYSTEM = UNITS / "supervisord-ng.service"
TEMPLATE = UNITS / "supervisord-ng@.service"
USER = UNITS / "user" / "supervisord-ng.service"
EXPOSURE_MAX = 50  # in tenths, as --threshold has it


def settings(unit: Path) -> list[str]:
    """The lines of a unit that are not only for people."""
    lines = unit.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("unit", [SYSTEM, TEMPLATE, USER], ids=["system", "template", "user"])
def test_verify_has_nothing_to_say(unit: Path, tmp_path: Path) -> None:
    """``systemd-analyze verify`` finds no mistake, once the programs are where the unit has them."""
    text = unit.read_text().replace("/usr/bin/supervisord-ng", "/bin/true")
    installed = tmp_path / unit.name.replace("@.", "@one.")
    installed.write_text(text.replace("/usr/bin/sng", "/bin/true"))
    whose = ["--user"] if unit is USER else []

    done = subprocess.run(
        [require_program("systemd-analyze"), "verify", "--man=no", *whose, str(installed)],
        capture_output=True,
        text=True,
        check=False,
        env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )

    about_this = [line for line in done.stderr.splitlines() if "supervisord-ng" in line]
    assert ([], 0) == (about_this, done.returncode)


def test_the_unit_is_as_little_exposed_as_a_supervisor_can_be() -> None:
    """``systemd-analyze security`` gives less than 5.0; docs/service.md tells what keeps it from less."""
    command = [require_program("systemd-analyze"), "security", "--offline=yes", "--no-pager"]

    done = subprocess.run(
        [*command, f"--threshold={EXPOSURE_MAX - 1}", str(SYSTEM)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout


def test_the_template_is_the_unit_with_other_names() -> None:
    """An instance promises what the one unit does."""
    named = [
        re.sub(r"supervisord-ng-%i", "supervisord-ng", line).replace("%i.toml", "tree.toml")
        for line in settings(TEMPLATE)
    ]

    expected = [line for line in settings(SYSTEM) if not line.startswith("Description=")]
    assert expected == [line for line in named if not line.startswith("Description=")]


def test_the_users_unit_has_what_a_user_may_have() -> None:
    """It is the system's without what only root may set, and keeps state where it is kept without systemd."""
    of_root = settings(SYSTEM)

    others = [line for line in settings(USER) if line not in of_root]

    tree = "%E/supervisord-ng/tree.toml"
    assert [
        "Description=Supervision tree of this user",
        f"ExecStart=/usr/bin/supervisord-ng --config {tree} --runtime-dir %t/supervisord-ng",
        "WantedBy=default.target",
    ] == others
