"""What shells are given to complete ``sng``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.canned import sng

COMPLETIONS = Path(__file__).parent.parent.parent / "completions"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_is_shipped_is_what_sng_prints(shell: str) -> None:
    """The files for packages are the output of ``sng completion``."""
    assert sng("completion", shell).stdout == (COMPLETIONS / f"sng.{shell}").read_text()


def test_another_shell_is_refused() -> None:
    """By name, with those that there are."""
    said = sng("completion", "tcsh")

    assert 2 == said.exit_code
    assert "bash" in said.stderr
