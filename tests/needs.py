"""What a test needs of the host. A skip says why; conftest.py decides which ones CI accepts."""

from __future__ import annotations

import os
import shutil

import pytest


def require_program(name: str) -> str:
    """Return the path of program `name`; skip the test where it is absent (in CI: fail it)."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no program {name}")
    return path


def require_root() -> None:
    """Skip the test for an ordinary user. Mark it with `pytest.mark.root` besides."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def require_ordinary_user() -> None:
    """Skip the test for root, who may do everything."""
    if os.geteuid() == 0:
        pytest.skip("needs an ordinary user")
