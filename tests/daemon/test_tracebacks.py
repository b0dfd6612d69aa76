"""What a worker itself says about its crash reaches the report."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.daemon.node import REPOSITORY, Node
from tests.support import eventually

pytestmark = pytest.mark.process


def test_uncaught_exception_reaches_the_report(short_dir: Path) -> None:
    """A crash of a Python worker is reported with its traceback and the last lines of its log."""
    program = short_dir / "crash.py"
    program.write_text(
        "from supervisord_ng import worker\n"
        "with worker.attach() as w:\n"
        "    print('about to divide', flush=True)\n"
        "    1 / 0\n"
    )
    text = f"""
[worker.crash]
command = ["{sys.executable}", "{program}"]
environment = {{ PYTHONPATH = "{REPOSITORY}" }}
restart = "temporary"
"""
    with Node(short_dir, text) as node:
        report = eventually(node.wait_answering().crashes, "a report", 20)[0]
        assert "ZeroDivisionError: division by zero" in report["traceback"]
        assert "about to divide" in report["log_tail"]
        assert ("exit:1", "removed") == (report["reason"], report["decision"])
        assert report["usage"]["max_rss_bytes"] > 0
