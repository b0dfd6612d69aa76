"""``sng keygen``: what a person types, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path

from supervisord_ng.wire import keys
from tests.cli.canned import sng


def test_keygen_prints_the_public_key_alone(tmp_path: Path) -> None:
    """One line, for the other node's file; `--show` prints it again; a second call overwrites nothing."""
    path = tmp_path / "node.key"
    made = sng("keygen", str(path))
    assert (0, f"{keys.read(str(path)).public}\n") == (made.exit_code, made.stdout)
    assert made.stdout == sng("keygen", "--show", str(path)).stdout
    shown = json.loads(sng("keygen", "--show", "--json", str(path)).stdout)
    assert {"file": str(path), "public_key": made.stdout.strip()} == shown
    again = sng("keygen", str(path))
    assert (1, "") == (again.exit_code, again.stdout)
    assert (
        f"sng: cannot write key file {path}: it exists, and a key is never overwritten\n"
        == again.stderr
    )


def test_keygen_without_a_file_makes_the_node_s_own(tmp_path: Path) -> None:
    """It lies where the daemon looks for it: node.key in the state directory, which is made."""
    state = tmp_path / "state"
    made = sng("--state-dir", str(state), "keygen")
    assert made.stdout.strip() == keys.read(str(state / "node.key")).public
    assert 0o700 == state.stat().st_mode & 0o7777
