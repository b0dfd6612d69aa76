"""What holds for every test: a clean environment, nothing left running, no silent skip in CI."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import psutil
import pytest

# Where a skip is no hole: the other kind of user runs the test in another run of CI, or the kernel
# will not do it on this host at all. "No such program" is none of these, CI installs programs.
EXCUSES = ("needs root", "needs an ordinary user", "this host cannot")

# A test that runs under a supervisor or systemd itself must not talk to that one.
FOREIGN = (
    "SNG_",
    "NOTIFY_SOCKET",
    "WATCHDOG_",
    "LISTEN_",
    "XDG_",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
)


def pytest_configure() -> None:
    """Forget what the caller's environment says about directories and supervisors, and its ignored signals."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    # A shell has its background jobs ignore them, nohup too, and so would whatever they start.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip without an excuse into a failure in CI."""
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Likewise for the skip of a whole file."""
    report = yield
    refuse_skip(report)
    return report


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make `report` a failure when it is a skip that CI does not accept."""
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(excuse in reason for excuse in EXCUSES):
        report.outcome = "failed"
        report.longrepr = f"a skip that CI does not accept: {reason} (tests/README.md, skips)"


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_running() -> Iterator[None]:
    """No file of tests leaves a process behind, not even one that only waits to be reaped."""
    me = psutil.Process()
    before = {child.pid for child in me.children()}
    yield
    left = [child for child in me.children() if child.pid not in before]
    assert not left, f"left running: {left}"


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A new directory with a path so short that sockets fit below it (107 bytes, unix(7))."""
    path = tempfile.mkdtemp(prefix="sng-", dir="/tmp")
    yield Path(path)
    shutil.rmtree(path)
