"""The daemon's directories and its lock, with real directories and a real second process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from supervisord_ng.errors import AlreadyRunningError, SupervisordNGError
from supervisord_ng.model import paths
from supervisord_ng.runtime import rundir
from tests.needs import require_ordinary_user

HOLDER = """
import subprocess, sys
from supervisord_ng.runtime.rundir import Lock
lock = Lock(sys.argv[1:])
worker = subprocess.Popen(["sleep", "60"], close_fds=False)
print(worker.pid, flush=True)
worker.wait()
"""


def mode_of(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_missing_directories_are_made_with_their_modes(tmp_path: Path) -> None:
    """Whatever the umask; parents that are missing are made too."""
    run, state, log = tmp_path / "a/run", tmp_path / "b/state", tmp_path / "b/state/log"
    before = os.umask(0o077)
    try:
        rundir.prepare(str(run), str(state), str(log))
    finally:
        os.umask(before)
    assert [0o711, 0o700, 0o750] == [mode_of(run), mode_of(state), mode_of(log)]


def test_existing_directories_keep_their_modes(tmp_path: Path) -> None:
    """Somebody chose them: an operator, or systemd's RuntimeDirectoryMode."""
    tmp_path.chmod(0o755)
    rundir.prepare(str(tmp_path), str(tmp_path), str(tmp_path))
    assert mode_of(tmp_path) == 0o755


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """The message says which directory and why."""
    path = tmp_path / "run"
    path.touch()
    with pytest.raises(SupervisordNGError) as caught:
        rundir.prepare(str(path), str(tmp_path), str(tmp_path))
    assert str(caught.value) == f"cannot use runtime directory {path}: not a directory"


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where a parent should be fails for root as well."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "state"
    with pytest.raises(SupervisordNGError) as caught:
        rundir.prepare(str(tmp_path), str(path), str(tmp_path))
    message = str(caught.value)
    assert message.startswith(f"cannot make state directory {path}: ")


def test_a_directory_without_permission_is_named(tmp_path: Path) -> None:
    """Found at the start, not with the first crash report."""
    require_ordinary_user()
    path = tmp_path / "log"
    path.mkdir(mode=0o500)
    with pytest.raises(SupervisordNGError) as caught:
        rundir.prepare(str(tmp_path), str(tmp_path), str(path))
    assert str(caught.value) == f"cannot use log directory {path}: permission denied"


def test_a_path_too_long_for_sockets_is_refused_at_once(tmp_path: Path) -> None:
    """Otherwise bind(2) fails later with words that nobody understands."""
    path = "/tmp/" + "x" * 90
    with pytest.raises(SupervisordNGError) as caught:
        rundir.prepare(path, str(tmp_path), str(tmp_path))
    assert str(caught.value) == (
        f"cannot use runtime directory {path}: its sockets' paths are too long: 110 bytes "
        "with heartbeat.sock, at most 107 (choose a shorter --runtime-dir)"
    )
    assert not os.path.exists(path)


def test_the_longest_socket_name_is_the_one_checked() -> None:
    """`prepare` checks one name for all."""
    names = (paths.CONTROL_SOCKET, paths.HEARTBEAT_SOCKET, paths.NOTIFY_SOCKET)
    assert max(map(len, names)) == len(paths.HEARTBEAT_SOCKET)


def test_the_lock_says_who_holds_it(tmp_path: Path) -> None:
    """A second holder is refused, with the directory and the pid; afterwards it is free again."""
    with rundir.Lock([str(tmp_path)]):
        with pytest.raises(AlreadyRunningError) as caught:
            rundir.Lock([str(tmp_path)])
        expected = f"cannot use directory {tmp_path}: another daemon holds it (pid {os.getpid()})"
        assert str(caught.value) == expected
    rundir.Lock([str(tmp_path)]).release()


def test_either_directory_alone_keeps_a_second_daemon_out(tmp_path: Path) -> None:
    """And a daemon that is refused holds nothing of what it took before."""
    run, state, other = (tmp_path / name for name in ("run", "state", "other"))
    for path in (run, state, other):
        path.mkdir()
    with rundir.Lock([str(run), str(state)]):
        for pair in ([other, state], [run, other]):
            with pytest.raises(AlreadyRunningError):
                rundir.Lock(map(str, pair))
        rundir.Lock([str(other)]).release()


def test_one_directory_may_have_both_roles(tmp_path: Path) -> None:
    """Under whatever name: a link to a directory is the same directory."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    with rundir.Lock([str(real), str(real), str(tmp_path / "link")]):
        pass


def test_the_lock_ends_with_the_daemon_though_its_workers_live(tmp_path: Path) -> None:
    """After kill -9 of a daemon the next one starts, while the workers of the first run on."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    worker = int(holder.stdout.readline())
    try:
        with pytest.raises(AlreadyRunningError, match=rf"pid {holder.pid}\)"):
            rundir.Lock([str(tmp_path)])
        holder.kill()
        holder.wait()
        os.kill(worker, 0)
        with rundir.Lock([str(tmp_path)]):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    finally:
        os.kill(worker, signal.SIGKILL)
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_lock_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """A link in its place is not followed: it might point into another directory."""
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SupervisordNGError) as caught:
        rundir.Lock([str(tmp_path)])
    assert str(caught.value).startswith(f"cannot open lock file {tmp_path}/lock: ")
