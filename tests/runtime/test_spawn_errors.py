"""Starts that fail, and the exact words with which they do: the step, the path, the errno."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisord_ng.errors import SpawnError
from supervisord_ng.model.spec import LaunchSpec
from tests.needs import require_ordinary_user, require_root
from tests.runtime.processes import NOBODY, Way, failure, start, way, write_script

pytestmark = pytest.mark.process

PATH = "/usr/bin:/bin"


@pytest.fixture(autouse=True, params=["popen", "fork server"])
def _either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every promise holds whoever starts the process."""
    with way(request.param):
        yield


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    """The path is the one that was tried."""
    path = f"{tmp_path}/absent"
    expected = ("ENOENT", f"cannot start: no such file: {path} (command)")
    assert failure(LaunchSpec((path,))) == expected
    assert failure(LaunchSpec(("./absent",), directory=str(tmp_path)))[0] == "ENOENT"


def test_a_program_that_is_nowhere_in_the_path() -> None:
    """The message shows where was searched."""
    expected = (
        "ENOENT",
        "cannot start: no such program: no-such-program (command; searched /usr/bin:/bin)",
    )
    assert failure(LaunchSpec(("no-such-program",)), PATH=PATH) == expected


def test_a_link_that_points_nowhere(tmp_path: Path) -> None:
    """Not the link is missing but its target."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    message = f"cannot start: no such file: {tmp_path}/target (where the link {link} points)"
    assert failure(LaunchSpec((str(link),))) == ("ENOENT", message)


def test_a_script_with_a_bad_interpreter(tmp_path: Path) -> None:
    """The most confusing ENOENT there is: the file exists."""
    path = write_script(tmp_path, "#!/usr/bin/pyhton3 -u\n")
    message = f"cannot start: bad interpreter: /usr/bin/pyhton3 (first line of {path})"
    assert failure(LaunchSpec((path,))) == ("ENOENT", message)


def test_a_file_without_an_interpreter(tmp_path: Path) -> None:
    """A shell would guess; a supervisor does not."""
    path = write_script(tmp_path, "echo hello\n")
    message = f"cannot start: not a program: {path} (a script needs a first line with #!)"
    assert failure(LaunchSpec((path,))) == ("ENOEXEC", message)


def test_a_file_that_is_not_executable(tmp_path: Path) -> None:
    """Root fails too: execve(2) wants one x bit at least."""
    path = write_script(tmp_path, "#!/bin/sh\n", mode=0o644)
    message = f"cannot start: not executable: {path} (command; chmod +x)"
    assert failure(LaunchSpec((path,))) == ("EACCES", message)
    launch = LaunchSpec(("program",), environment={"PATH": os.path.dirname(path)})
    assert failure(launch) == ("EACCES", message)


def test_a_directory_as_program(tmp_path: Path) -> None:
    """The kernel only says EACCES."""
    message = f"cannot start: is a directory: {tmp_path} (command)"
    assert failure(LaunchSpec((str(tmp_path),))) == ("EACCES", message)


def test_a_file_in_the_way_of_the_program(tmp_path: Path) -> None:
    """A path that goes through a file."""
    path = write_script(tmp_path, "#!/bin/sh\n") + "/run"
    message = f"cannot start: not a directory: {path} (command)"
    assert failure(LaunchSpec((path,))) == ("ENOTDIR", message)


@pytest.mark.root
def test_a_program_that_only_the_daemon_may_execute(tmp_path: Path) -> None:
    """Exec has the last word: root may, the worker's user may not."""
    require_root()
    path = write_script(tmp_path, "#!/bin/sh\n", mode=0o700)
    launch = LaunchSpec((path,), user=NOBODY.pw_uid, group=NOBODY.pw_gid)
    assert failure(launch) == ("EACCES", f"cannot start: permission denied: {path} (command)")


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    """The step is named: it is the directory, not the program."""
    path = f"{tmp_path}/absent"
    message = f"cannot change to directory {path}: no such file or directory"
    assert failure(LaunchSpec(("/bin/true",), directory=path)) == ("ENOENT", message)


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    """ENOTDIR, of the directory."""
    path = write_script(tmp_path, "")
    message = f"cannot change to directory {path}: not a directory"
    assert failure(LaunchSpec(("/bin/true",), directory=path)) == ("ENOTDIR", message)


@pytest.mark.parametrize("directory", [None, "/"])
def test_a_user_that_we_may_not_become(directory: str | None) -> None:
    """Found out by the kernel, told apart from a directory that failed."""
    require_ordinary_user()
    launch = LaunchSpec(("/bin/true",), user=0, group=0, directory=directory)
    message = "cannot become user 0: operation not permitted (the daemon does not run as root)"
    assert failure(launch) == ("EPERM", message)


@pytest.mark.root
@pytest.mark.parametrize("directory", [None, "/"])
def test_a_user_without_the_capability_to_become_it(directory: str | None) -> None:
    """The same seen from root, by a daemon that has given the privilege away for the moment."""
    require_root()
    if Way.launcher is not None:
        return  # it has its privileges from the beginning
    launch = LaunchSpec(("/bin/true",), user=1, group=1, directory=directory)
    os.seteuid(NOBODY.pw_uid)
    try:
        why, message = failure(launch)
    finally:
        os.seteuid(0)
    assert why == "EPERM"
    assert message == (
        "cannot become user 1: operation not permitted (the daemon does not run as root)"
    )


def test_arguments_that_are_too_long() -> None:
    """execve(2): one argument has at most 128 KiB."""
    message = "cannot start: arguments and environment are too long: /bin/true"
    assert failure(LaunchSpec(("/bin/true", "x" * 200_000))) == ("E2BIG", message)


def test_arguments_that_no_program_can_have() -> None:
    """A NUL ends a string for the kernel; Python refuses before it."""
    message = "cannot start: embedded null byte: '/bin/true'"
    assert failure(LaunchSpec(("/bin/true", "a\0b"))) == ("EINVAL", message)


def test_no_descriptors_left() -> None:
    """The daemon's own shortage is a failed start, not the end of the daemon."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(SpawnError) as caught:
            start(LaunchSpec(("/bin/true",)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.why == "EMFILE"
    assert caught.value.message.startswith("cannot ")
    assert "too many open files" in caught.value.message


def test_a_worker_that_cannot_be_watched_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would never be stopped. Injected: pidfd_open can not be made to fail from outside."""

    def refuse(_pid: int) -> int:
        raise OSError(24, "injected")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    why, message = failure(LaunchSpec(("/bin/sleep", "60")))
    assert why == "EMFILE"
    assert message.endswith(": too many open files")
