"""Who may control a node: root, the daemon's own user, one group. The kernel says who is asking."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from supervisord_ng.control.access import Access, Caller
from supervisord_ng.model.messages import Request
from tests.control.serving import serving
from tests.needs import require_program
from tests.support import running_as_root

NOBODY = 65534
STRANGER = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
GROUP = 54321  # any number will do, nobody has to know it by name

ASK = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
try:
    peer.connect(sys.argv[1])
    try:
        peer.sendall(b'{"id":"1","verb":"status"}\\n')
    except BrokenPipeError:
        pass
    print(peer.makefile().readline(), end="")
except PermissionError:
    print("EACCES")
"""

needs_root = pytest.mark.skipif(not running_as_root(), reason="needs root to become another user")


async def answer(_: Caller, __: Request) -> Any:
    """Whatever was asked."""
    return "served"


def run_as(identity: tuple[str, ...], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as another user, with setpriv(1)."""
    require_program("setpriv")
    return subprocess.run(
        ["setpriv", *identity, *command], capture_output=True, text=True, check=False, timeout=30
    )


def ask_as(path: str, *identity: str) -> str:
    """Ask as another user, with a Python that this user may execute: ours may lie in a home."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        if os.path.exists(python) and run_as(STRANGER, python, "-I", "-c", "").returncode == 0:
            return run_as(identity, python, "-I", "-c", ASK, path).stdout
    pytest.skip("this host cannot run Python as nobody")


@pytest.mark.parametrize(
    ("caller", "groups", "expected"),
    [
        (Caller(uid=0, gid=0, pid=1), (), True),
        (Caller(uid=500, gid=500, pid=1), (), True),
        (Caller(uid=501, gid=500, pid=1), (), False),
        (Caller(uid=501, gid=700, pid=1), (), True),
        (Caller(uid=501, gid=501, pid=1), (4, 700), True),
        (Caller(uid=501, gid=501, pid=1), (4,), False),
    ],
)
def test_the_rule(caller: Caller, groups: tuple[int, ...], *, expected: bool) -> None:
    """Root, our uid (500), the control group (700) as primary or supplementary group; nobody else."""
    assert expected == Access(500, 700).allows(caller, groups)


def test_without_a_group_no_group_helps() -> None:
    """Membership in group 0 is no membership in the control group."""
    assert not Access(500, None).allows(Caller(uid=501, gid=0, pid=1), (0,))


@needs_root
def test_a_stranger_cannot_even_connect() -> None:
    """The mode of the socket is the first guard."""
    with serving(answer) as served:
        os.chmod(served.runtime_dir, 0o711)
        assert ask_as(served.path, *STRANGER) == "EACCES\n"


@needs_root
def test_a_stranger_who_connects_is_denied_and_counted() -> None:
    """The kernel's credentials are the second guard, whatever the mode of the file has become."""
    with serving(answer) as served:
        os.chmod(served.runtime_dir, 0o711)
        os.chmod(served.path, 0o666)
        said = ask_as(served.path, *STRANGER)
        assert served.server.rejected == 1
        assert f"uid {NOBODY}" in served.logged[0]
    assert '"code":"denied"' in said


@needs_root
@pytest.mark.parametrize(
    "identity",
    [(f"--regid={GROUP}", "--clear-groups"), (f"--regid={NOBODY}", f"--groups=4,{GROUP}")],
    ids=["primary", "supplementary"],
)
def test_members_of_the_control_group_may(identity: tuple[str, ...]) -> None:
    """Whether it is the primary group or another one."""
    with serving(answer, control_group=GROUP) as served:
        os.chmod(served.runtime_dir, 0o711)
        said = ask_as(served.path, f"--reuid={NOBODY}", *identity)
    assert said == '{"id":"1","ok":true,"result":"served"}\n'


def test_the_own_user_may() -> None:
    """Whoever runs the daemon controls it."""
    with serving(answer) as served:
        command = [sys.executable, "-I", "-c", ASK, served.path]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert said.stdout == '{"id":"1","ok":true,"result":"served"}\n'
