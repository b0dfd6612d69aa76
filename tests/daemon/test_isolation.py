"""A worker dies whole and lives by its keys, under a whole daemon; with cgroups and without."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import psutil
import pytest

from supervisord_ng.runtime.cgroups import Cgroups, UnavailableError
from tests.daemon.node import Node
from tests.needs import require_ordinary_user, require_root
from tests.support import eventually, is_alive, rounds

pytestmark = pytest.mark.process

STUBBORN = Path(__file__).with_name("stubborn.py")


@pytest.fixture(params=["cgroup", "session"])
def _either_way(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both ways to know what a worker is."""
    if request.param == "session":
        monkeypatch.setenv("SNG_CGROUPS", "off")
        return
    try:
        Cgroups(str(tmp_path)).close()
    except UnavailableError as error:
        pytest.skip(f"this host cannot: {error}")


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def family_of(pid: int) -> set[int]:
    """Everybody whose environment has the token of this process."""
    token = psutil.Process(pid).environ()["SNG_TOKEN"]
    found = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get("SNG_TOKEN") == token:
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.usefixtures("_either_way")
def test_nothing_of_a_worker_outlives_its_restart(short_dir: Path) -> None:
    """Its leader obeys, its child is deaf, its daemon holds the port: the next one has the port."""
    tree = f"""
[worker.w]
command = ["python3", "-S", "{STUBBORN}", "{free_port()}"]
ready = {{ log = "^up" }}
shutdown = "50ms"
environment = {{ PYTHONDONTWRITEBYTECODE = "1" }}
"""
    with Node(short_dir, tree) as node:
        node.wait_up()
        restarts = rounds(usual=10)
        for _ in range(restarts):
            family = family_of(node.pids()["w"])
            assert len(family) == 3
            (result,) = node.ask("restart", paths=["w"])["results"]
            assert result["ok"], result
            assert [pid for pid in family if is_alive(pid)] == []
        assert node.row("w")["incarnation"] == restarts + 1
        assert {report["reason"] for report in node.crashes()} <= {"killed", "signal:SIGKILL"}
        family = family_of(node.pids()["w"])
    assert [pid for pid in family if is_alive(pid)] == []


@pytest.mark.usefixtures("_either_way")
def test_who_is_left_after_a_crash_is_killed_at_once(short_dir: Path) -> None:
    """A kill -9 of the main process alone: the rest goes, then the next one starts."""
    tree = f"""
[worker.w]
command = ["python3", "-S", "{STUBBORN}", "{free_port()}"]
ready = {{ log = "^up" }}
shutdown = "infinity"
"""
    with Node(short_dir, tree) as node:
        node.wait_up()
        main = node.pids()["w"]
        family = family_of(main)
        os.kill(main, signal.SIGKILL)
        eventually(lambda: node.row("w")["incarnation"] == 2, "the next one")
        eventually(lambda: node.row("w")["ready"], "it has the port")
        assert [pid for pid in family if is_alive(pid)] == []
        node.signal(signal.SIGTERM)
        eventually(lambda: node.row("w")["state"] == "stopping", "it is asked")
        node.signal(signal.SIGTERM)  # its daemon would never go by itself
        assert node.ends() == 0


@pytest.mark.usefixtures("_either_way")
def test_a_hundred_restarts_cost_no_descriptor(short_dir: Path) -> None:
    """With and without the fork server."""
    tree = """
[worker.plain]
command = "sleep 1000"
[worker.limited]
command = "sleep 1000"
limits = { core = 0 }
"""
    with Node(short_dir, tree) as node:
        node.wait_up()
        node.ask("restart", paths=["all"])
        descriptors = f"/proc/{node.pid}/fd"
        before = len(os.listdir(descriptors))
        for _ in range(50):
            node.ask("restart", paths=["all"])
        # `before` may have seen the connection of a question that was just answered.
        eventually(lambda: len(os.listdir(descriptors)) <= before, "the count is as it was")
        assert node.row("plain")["incarnation"] == node.row("limited")["incarnation"] == 52


@pytest.mark.usefixtures("_either_way")
def test_nothing_is_left_where_groups_were(short_dir: Path) -> None:
    """The daemon removes its own at the end."""
    with Node(short_dir, '[worker.w]\ncommand = "sleep 1000"\n') as node:
        node.wait_up()
        path = f"/proc/{node.pids()['w']}/cgroup"

        def group() -> str:
            lines = Path(path).read_text().splitlines()
            return next((line[3:] for line in lines if line.startswith("0::")), "")

        if "SNG_CGROUPS" in os.environ:
            assert "supervisord-ng-" not in group()
            return
        eventually(lambda: group().endswith("/w.worker"), "it is in its group")
        name = re.sub("/w.worker$", "", group())
        node.signal(signal.SIGTERM)
        assert node.ends() == 0
    mounts = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    assert not any(
        (mount / name.lstrip("/")).exists() for mount in mounts if "cgroup" in str(mount)
    )


LOOK = """
cat /proc/self/limits /proc/self/status
echo nice=$(nice)
echo oom=$(cat /proc/self/oom_score_adj)
umask
ls -l /proc/self/fd
echo end
exec sleep 1000
"""
KEYS = """
[worker.w]
command = ["sh", "{look}"]
ready = {{ log = "^end" }}
umask = "027"
nice = 7
oom_score_adj = 321
no_new_privileges = true
limits = {{ nofile = 77, core = 0, stack = "4M" }}
"""


def test_every_key_is_seen_from_inside(short_dir: Path) -> None:
    """From the configuration to the worker's own /proc."""
    look = short_dir / "look.sh"
    look.write_text(LOOK)
    with Node(short_dir, KEYS.format(look=look)) as node:
        log = node.wait_up().state_dir / "log" / "w.log"
        eventually(lambda: log.read_text().endswith("end\n"), "all of it is written")
        text = log.read_text()
    assert re.search(r"^Max open files +77 +77 ", text, re.MULTILINE)
    assert re.search(r"^Max core file size +0 +0 ", text, re.MULTILINE)
    assert re.search(r"^Max stack size +4194304 +4194304 ", text, re.MULTILINE)
    assert "NoNewPrivs:\t1\n" in text
    assert "nice=7\noom=321\n0027\n" in text
    opened = re.findall(r" (\d+) -> ", text)
    assert opened == ["0", "1", "2", "3"], "3 is the directory that ls reads"


@pytest.mark.root
def test_a_worker_of_another_user(short_dir: Path) -> None:
    """User, group and groups, together with what only root can give."""
    require_root()
    tree = """
[worker.w]
command = ["sh", "-c", "id -u; id -g; id -G; nice; exec sleep 1000"]
user = "nobody"
groups = [7, 9]
nice = -2
"""
    short_dir.chmod(0o755)
    with Node(short_dir, tree) as node:
        node.wait_up()
        log = node.state_dir / "log" / "w.log"
        eventually(lambda: log.read_text().count("\n") == 4, "it spoke")
        lines = log.read_text().splitlines()
    assert lines[:2] == ["65534", "65534"]
    assert set(lines[2].split()) == {"65534", "7", "9"}
    assert lines[3] == "-2"


def refused(directory: Path, keys: str) -> tuple[str, str]:
    """Start one worker that cannot be; the reason and the message of its report."""
    directory.chmod(0o755)
    tree = f'[worker.w]\ncommand = "true"\nautostart = false\n{keys}'
    with Node(directory, tree) as node:
        node.wait_up()
        (result,) = node.ask("start", paths=["w"])["results"]
        assert not result["ok"]
        return str(node.row("w")["last_exit"]), str(result["message"])


def test_what_the_kernel_refuses_is_told_with_the_step(short_dir: Path) -> None:
    """The errno is in the reason, the step and the hint in the message."""
    beyond = int(Path("/proc/sys/fs/nr_open").read_text()) + 1
    reason, message = refused(short_dir, f"limits = {{ nofile = {beyond} }}")
    assert reason == "start_failed:EPERM"
    assert f"cannot limit nofile to {beyond}: operation not permitted" in message


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("nice = -20", "start_failed:EACCES"),
        ("oom_score_adj = -1000", "start_failed:EACCES"),
    ],
)
def test_what_needs_root_is_told(short_dir: Path, key: str, reason: str) -> None:
    """An ordinary user's daemon."""
    require_ordinary_user()
    found, message = refused(short_dir, key)
    assert found == reason
    assert "the daemon does not run as root" in message


def test_limits_for_which_there_is_no_controller(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named; and left out where that is optional."""
    monkeypatch.setenv("SNG_CGROUPS", "off")
    reason, message = refused(short_dir, 'resources = { memory_max = "64M" }')
    assert reason == "start_failed:no_cgroup"
    assert "optional = true" in message
