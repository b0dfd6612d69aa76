"""The import law of pyproject.toml, checked by import-linter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_import_law_is_kept() -> None:
    """Programs import the shell, the shell the pure part, and nobody the other way round."""
    program = Path(sys.executable).with_name("lint-imports")

    run = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (0, "") == (run.returncode, run.stderr), run.stdout
