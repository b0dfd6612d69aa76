"""``sng service install``: whose unit it writes, what stands in it, and what it never touches."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from supervisord_ng.cli.service import MARK
from tests.cli.canned import sng

BIN = os.path.dirname(sys.executable)
TREE = '[worker.a]\ncommand = "true"\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's configuration directory, with a tree in its place."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tree = tmp_path / "supervisord-ng" / "tree.toml"
    tree.parent.mkdir()
    tree.write_text(TREE)
    return tmp_path


def unit_of(home: Path) -> Path:
    """Where the user's unit goes."""
    return home / "systemd" / "user" / "supervisord-ng.service"


def test_the_unit_names_this_installation_and_the_tree(home: Path) -> None:
    """It runs the programs beside the interpreter that runs now, and the two commands that follow are said."""
    said = sng("service", "install", "--user")

    tree = home / "supervisord-ng" / "tree.toml"
    lines = unit_of(home).read_text().splitlines()
    assert (0, "") == (said.exit_code, said.stderr)
    assert [
        f"wrote {unit_of(home)}; now type",
        "    systemctl --user daemon-reload",
        "    systemctl --user enable --now supervisord-ng",
    ] == said.stdout.splitlines()
    start = f"{BIN}/supervisord-ng --config {tree} --runtime-dir %t/supervisord-ng"
    assert f"ExecStart={start}" in lines
    assert f"ExecReload={BIN}/sng --runtime-dir %t/supervisord-ng reload" in lines
    assert [] == [line for line in lines if "/usr/bin" in line]


def test_any_path_can_stand_in_a_unit(home: Path) -> None:
    """Blanks, quotes and systemd's own % and $ in the path of a tree mean themselves."""
    tree = home / 'my "100%" $tree.toml'
    tree.write_text(TREE)

    said = sng("service", "install", "--user", str(tree), "--json")

    assert str(unit_of(home)) == json.loads(said.stdout)["unit"]
    assert f'--config "{home}/my \\"100%%\\" $$tree.toml" ' in unit_of(home).read_text()


def test_its_own_unit_is_replaced(home: Path) -> None:
    """After an upgrade the same command writes the unit anew."""
    unit_of(home).parent.mkdir(parents=True)
    unit_of(home).write_text(f"{MARK}[Service]\nExecStart=/old\n")

    said = sng("service", "install", "--user")

    assert 0 == said.exit_code
    assert "/old" not in unit_of(home).read_text()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_foreign_unit_is_left_alone(home: Path, kind: str) -> None:
    """Neither what an administrator wrote nor a mask is written over."""
    unit = unit_of(home)
    unit.parent.mkdir(parents=True)
    if kind == "file":
        unit.write_text("[Service]\nExecStart=/mine\n")
    else:
        unit.symlink_to(os.devnull)

    said = sng("service", "install", "--user")

    assert 1 == said.exit_code
    assert f"sng: cannot write {unit}: there is one already that somebody else wrote" in said.stderr
    assert [unit.name] == os.listdir(unit.parent)
    assert "ExecStart=/mine" in unit.read_text() if kind == "file" else unit.is_symlink()


def test_a_wrong_tree_gets_no_unit(home: Path) -> None:
    """What the daemon would refuse is refused here, in the same words."""
    (home / "supervisord-ng" / "tree.toml").write_text("[worker.a]\ncomand = 'true'\n")

    said = sng("service", "install", "--user")

    assert 78 == said.exit_code
    assert "did you mean" in said.stderr
    assert not unit_of(home).exists()


def test_a_tree_that_is_not_there_gets_no_unit(home: Path) -> None:
    """The path is named."""
    shutil.rmtree(home / "supervisord-ng")

    said = sng("service", "install", "--user")

    assert 78 == said.exit_code
    assert str(home / "supervisord-ng" / "tree.toml") in said.stderr


def test_a_template_has_no_file_of_its_own(home: Path) -> None:
    """Its trees have a fixed place."""
    assert 2 == sng("service", "install", "--template", "tree.toml").exit_code
