"""A real systemd as PID 1 of namespaces of its own: processes, mounts, IPC, host name, network, cgroups.

It sees this host's files with its own /run and /tmp, and an /etc and a /var that it may change without changing
the host's. One directory is shared with the host. cgroups are version 2 alone, as on today's distributions,
below the cgroup of the tests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.needs import require_program, require_root
from tests.support import eventually, is_alive

BOOT_TIMEOUT_S = 90.0
DONE_TIMEOUT_S = 90.0
SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")

# What systemd and its journal need of the host's units; the rest would set up a host that is up already.
UNITS = ("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket")
TARGETS = (
    "sysinit",
    "basic",
    "sockets",
    "network",
    "nss-user-lookup",
    "multi-user",
    "shutdown",
    "umount",
)
LENT = "/run/lent"  # inside: the packages of the tests' own environment

# Runs as PID 1 before systemd does. $1 is shared with the host, $2 lent by it; both may lie below /tmp, so they
# are put aside before that is hidden. $3 is systemd.
BOOT = f"""
set -e
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/aside {LENT} /run/changed /run/units
mount --bind "$1" /run/aside
mount --bind "$2" {LENT}
mount -t tmpfs tmpfs /tmp
mkdir -p "$1"
mount --move /run/aside "$1"
rmdir /run/aside
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for directory in etc var; do
    mkdir -p /run/changed/$directory /run/changed/work-$directory
    mount -t overlay overlay /$directory -o \
lowerdir=/$directory,upperdir=/run/changed/$directory,workdir=/run/changed/work-$directory
done
mount -t tmpfs tmpfs /etc/systemd/system
ip link set lo up
for unit in {" ".join(UNITS)}; do cp "${{3%/*}}/system/$unit" /run/units/; done
for target in {" ".join(TARGETS)}; do
    printf '[Unit]\nDefaultDependencies=no\n' > /run/units/$target.target
done
printf 'Wants=systemd-journald.service\n' >> /run/units/sysinit.target
printf 'Requires=sysinit.target\nAfter=sysinit.target\n' >> /run/units/basic.target
exec env -i PATH="$PATH" container=sng SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/systemd/system:/run/units \
    "$3" --system --unit=basic.target --log-target=console
"""


class Machine:
    """Boots when it is made; `close` ends everything that ever ran in it."""

    def __init__(self) -> None:
        require_root()
        for program in ("unshare", "nsenter", "ip", "systemctl"):
            require_program(program)
        systemd = next(path for path in SYSTEMD if os.path.exists(path))
        self._cgroup = _new_cgroup()
        self._enabled = _hand_on(self._cgroup.parent)
        self.shared = Path(tempfile.mkdtemp(prefix="sng-", dir="/tmp"))
        self.shared.chmod(0o755)
        self._console = self.shared / "console"
        self._pid = self.shared / "pid"
        namespaces = [
            "--pid",
            "--mount",
            "--uts",
            "--ipc",
            "--cgroup",
            "--net",
            "--propagation=private",
        ]
        given = [str(self.shared), sysconfig.get_path("purelib"), systemd]
        boot = ["unshare", *namespaces, "--fork", "sh", "-c", BOOT, "sh", *given]
        # The cgroup namespace begins where its first process is, so that one moves before it is unshared.
        enter = ["sh", "-c", 'echo $$ | tee "$0" > "$1" && shift && exec "$@"', str(self._pid)]
        # No child of ours: other tests look at those.
        detached = ["setsid", "--fork", *enter, f"{self._cgroup}/cgroup.procs", *boot]
        with self._console.open("wb") as console:
            subprocess.run(
                detached, stdin=subprocess.DEVNULL, stdout=console, stderr=console, check=True
            )
        self._holder = psutil.Process(
            int(eventually(self._pid.read_text, "the machine is begun", BOOT_TIMEOUT_S))
        )
        try:
            eventually(self._is_up, f"systemd is up; console: {self._console}", BOOT_TIMEOUT_S)
            # The holder stays outside: a cgroup that hands controllers on must not have processes.
            (self._cgroup.parent / "cgroup.procs").write_text(str(self._holder.pid))
        except BaseException:
            self.close()
            raise

    # --- files and commands ----------------------------------------------------------------------
    def path(self, inside: str) -> Path:
        """Where the host finds a file of the machine."""
        return Path(f"/proc/{self._init}/root{inside}")

    def run(
        self, *command: str, check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; a failure shows what it said."""
        done = subprocess.run(
            ["nsenter", f"--target={self._init}", "--all", "--", *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=DONE_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | (environment or {}),
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """What systemctl prints."""
        done = self.run("systemctl", "--no-pager", "--full", *arguments, check=check)
        return done.stdout + done.stderr

    # --- units -----------------------------------------------------------------------------------
    def unit(self, name: str, text: str) -> None:
        """Write a unit file, or a drop-in (NAME.d/x.conf), as an administrator would."""
        path = self.path(f"/etc/systemd/system/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.systemctl("daemon-reload")

    def show(self, unit: str, key: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", f"--property={key}", "--value", unit).strip()

    def is_in(self, unit: str, state: str, sub_state: str) -> bool:
        """Whether a unit is in a state, "failed" and "failed", with no job under way."""
        keys = self.systemctl("show", "--property=ActiveState,SubState,Job", unit).splitlines()
        shown = dict(key.split("=", 1) for key in keys)
        idle = shown.get("Job", "0") in ("", "0")
        return idle and (state, sub_state) == (shown["ActiveState"], shown["SubState"])

    def wait(self, unit: str, state: str, sub_state: str) -> None:
        """Wait until a unit is in a state."""
        eventually(
            lambda: self.is_in(unit, state, sub_state),
            f"{unit} is {state} ({sub_state})",
            DONE_TIMEOUT_S,
        )

    def kill_main(self, unit: str, number: signal.Signals) -> None:
        """A signal to the main process of a unit."""
        self.systemctl("kill", "--kill-whom=main", f"--signal={number.name}", unit)

    def cgroups(self, unit: str) -> list[Path]:
        """The cgroup of a unit, if there is one."""
        return list(self.path("/sys/fs/cgroup/system.slice").rglob(unit))

    def processes(self, unit: str) -> list[int]:
        """Every process that is left of a unit, by the host's numbers."""
        files = [file for top in self.cgroups(unit) for file in top.rglob("cgroup.procs")]
        return sorted(int(pid) for file in files for pid in _lines(file))

    def journal(self, unit: str) -> str:
        """What a unit has said."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def hand_on_controllers(self, cgroup: Path) -> list[str]:
        """Have every controller in this cgroup, and handed on by it to those below; return which these are."""
        top = self.path("/sys/fs/cgroup")
        for path in reversed([cgroup, *cgroup.parents]):
            if path.is_relative_to(top):
                _hand_on(path)
        return (cgroup / "cgroup.subtree_control").read_text().split()

    # --- its life --------------------------------------------------------------------------------
    def close(self) -> None:
        """Kill PID 1, and with it everybody; remove what was made for it."""
        for process in self._holder.children() if is_alive(self._holder.pid) else []:
            process.kill()
        eventually(lambda: not is_alive(self._holder.pid), "the machine is off", DONE_TIMEOUT_S)
        eventually(lambda: not _remove_cgroups(self._cgroup), "its cgroups are empty")
        for controller in self._enabled:
            with contextlib.suppress(OSError):  # somebody else has begun to use it
                (self._cgroup.parent / "cgroup.subtree_control").write_text(f"-{controller}")
        shutil.rmtree(self.shared)

    def _is_up(self) -> bool:
        if not is_alive(self._holder.pid):
            pytest.skip(f"this host cannot boot a systemd: {self._console.read_text()}")
        children = self._holder.children()
        if not children:
            return False
        self._init = children[0].pid
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in (
            "running",
            "degraded",
        )


def _new_cgroup() -> Path:
    """A cgroup of version 2 below our own."""
    groups = Path("/proc/self/cgroup").read_text().splitlines()
    own = next(line[3:] for line in groups if line.startswith("0::"))
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    hierarchy = next((fields[1] for fields in mounts if fields[2] == "cgroup2"), None)
    if hierarchy is None:
        pytest.skip("this host cannot boot a systemd: no cgroup v2 is mounted")
    made = Path(hierarchy + own.rstrip("/")) / f"sng-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"this host cannot boot a systemd: no cgroup can be made: {error}")
    return made


def _hand_on(cgroup: Path) -> list[str]:
    """Hand all controllers on to the groups below, as far as the kernel does it; return the new ones."""
    control = cgroup / "cgroup.subtree_control"
    before = control.read_text().split()
    for controller in (cgroup / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):
            control.write_text(f"+{controller}")
    return [controller for controller in control.read_text().split() if controller not in before]


def _remove_cgroups(top: Path) -> bool:
    """Remove a cgroup and all below it, from the bottom up; say whether it is still there."""
    for path, _, _ in os.walk(top, topdown=False):
        os.rmdir(path)
    return top.exists()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # removed meanwhile
        return []
