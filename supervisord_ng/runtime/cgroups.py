"""The daemon's part of the cgroup v2 hierarchy: one group for each worker, and limits for those that want them.

See cgroups(7) and the kernel's Documentation/admin-guide/cgroup-v2.rst. Below the cgroup in which the daemon
was started stand

    supervisord-ng-1f3870be/      ours; the number stands for the runtime directory
        NAME.worker/              of one worker, for all of its incarnations
        daemon/                   for ourselves, where limits are wanted: a cgroup that hands controllers on
                                  must not hold processes

Knows nothing of what a worker is.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
from collections.abc import Collection, Iterator

from supervisord_ng.errors import SpawnError
from supervisord_ng.model.spec import Resources
from supervisord_ng.runtime import procfs, spawn_errors

_LEAF = "daemon"
_CONTROL = ".control"  # where systemd puts the commands of a unit with Delegate=yes beside its main process
_WORKER = ".worker"  # keeps the name of a worker apart from those of the kernel's files
_CONTROLLER_OF = {
    "memory_max": "memory",
    "memory_high": "memory",
    "cpu_max": "cpu",
    "pids_max": "pids",
}
_CPU_PERIOD_US = 100_000  # the kernel's default
_EVENTS_BYTES = 4096  # of cgroup.events, which is far shorter


class UnavailableError(Exception):
    """There is no cgroup v2 hierarchy for us; says why."""


class Cgroup:
    """The group of one worker."""

    def __init__(self, path: str) -> None:
        self.path = path

    def add(self, pid: int) -> None:
        """Move a process in, with all of its threads; what it forked before stays where it is.

        Blocks for some milliseconds: see `runtime.forkserver`.

        Raises:
            OSError: the kernel does not; ProcessLookupError when there is no such process.
        """
        _write(self.path, "cgroup.procs", str(pid))

    def pids(self) -> list[int]:
        """Every living process in here and in groups that the worker has made below."""
        return [pid for path in _tree(self.path) for pid in _pids(path)]

    def is_empty(self, events: int | None = None) -> bool:
        """Say whether nobody is left.

        Args:
            events: what `open_events` gave; reading it arms it again.
        """
        try:
            said = (
                _read(self.path, "cgroup.events")
                if events is None
                else os.pread(events, _EVENTS_BYTES, 0)
            )
        except OSError:
            return not os.path.exists(self.path)  # ENODEV: somebody has removed it, so it was empty
        if b"populated 0" in said:
            return True
        # A process counts until the scheduler has let go of it, a moment after it could be reaped.
        return not self.pids()

    def signal(self, signum: int) -> bool:
        """Signal everybody; False if nobody is there.

        A number that was read may be a stranger's a moment later, so it counts only if it is still here after
        its pidfd was opened.

        Raises:
            PermissionError: nobody may be signalled by us.
        """
        pidfds: dict[int, int] = {}
        denied: PermissionError | None = None
        reached = False
        try:
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    pidfds[pid] = os.pidfd_open(pid)
            for pid in set(self.pids()) & pidfds.keys():
                try:
                    signal.pidfd_send_signal(pidfds[pid], signum)
                    reached = True
                except ProcessLookupError:
                    pass
                except PermissionError as error:
                    denied = error
        finally:
            for pidfd in pidfds.values():
                os.close(pidfd)
        if denied is not None and not reached:
            raise denied
        return reached

    def kill(self) -> None:
        """SIGKILL to everybody, and to who is being forked meanwhile where the kernel does it (Linux 5.14)."""
        try:
            _write(self.path, "cgroup.kill", "1")
        except FileNotFoundError:
            self.signal(signal.SIGKILL)

    def oom_kills(self) -> int:
        """How many processes in here the kernel has killed for want of memory; 0 without that controller."""
        try:
            said = _read(self.path, "memory.events")
        except OSError:
            return 0
        counts = dict(line.split() for line in said.splitlines())
        return int(counts.get(b"oom_kill", 0))

    def open_events(self) -> int:
        """A descriptor for poll's POLLPRI: the group may have become empty, or not be so any more."""
        return os.open(os.path.join(self.path, "cgroup.events"), os.O_RDONLY | os.O_CLOEXEC)

    def set_resources(self, resources: Resources) -> None:
        """Limit the group.

        Raises:
            SpawnError: the kernel refuses a value; the controllers are there.
        """
        cpu = resources.cpu_max
        quota = "max" if cpu is None else f"{max(1, round(cpu * _CPU_PERIOD_US))}"
        values = {
            "memory.max": _value(resources.memory_max),
            "memory.high": _value(resources.memory_high),
            "cpu.max": f"{quota} {_CPU_PERIOD_US}",
            "pids.max": _value(resources.pids_max),
        }
        for file, value in values.items():
            if not value.startswith("max"):
                try:
                    _write(self.path, file, value)
                except OSError as error:
                    why, said = spawn_errors.name(error.errno), spawn_errors.words(error.errno)
                    raise SpawnError(why, f"cannot set {file} to {value}: {said}") from error

    def remove(self) -> bool:
        """Remove the group and those that the worker has made below; False when somebody is left in it."""
        try:
            for path in reversed(list(_tree(self.path))):
                os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


class Cgroups:
    """All groups of one daemon.

    Args:
        runtime_dir: of the daemon; two daemons in one cgroup tell themselves apart by it.

    Raises:
        UnavailableError: there is no v2 hierarchy, or none that we may write.
    """

    def __init__(self, runtime_dir: str) -> None:
        name = "supervisord-ng-" + hashlib.sha256(os.fsencode(runtime_dir)).hexdigest()[:8]
        self._own = _own_path().removesuffix(f"/{_CONTROL}")
        if self._own.endswith(
            f"/{name}/{_LEAF}"
        ):  # a daemon before us, of the same process, has moved us here
            self._own = os.path.dirname(os.path.dirname(self._own))
        self.path = os.path.join(self._own, name)
        self._enabled: list[tuple[str, str]] = []  # (cgroup, controller) that we have handed on
        self._has_moved = False
        if not os.access(os.path.join(self._own, "cgroup.procs"), os.W_OK):
            raise UnavailableError(f"cannot write {self._own}")
        try:
            os.makedirs(self.path, exist_ok=True)
        except OSError as error:
            raise UnavailableError(
                f"cannot make {self.path}: {spawn_errors.words(error.errno)}"
            ) from error

    def kill_leftovers(self, spared: Collection[str] = ()) -> None:
        """SIGKILL to what a daemon that did not end well has left in the groups, and remove these.

        The groups of the workers with the names in `spared` are left alone.
        """
        for group in self._workers():
            name = os.path.basename(group.path).removesuffix(_WORKER)
            if name not in spared and not group.remove():
                group.kill()

    def make_room(self) -> None:
        """Let a process enter the cgroup in which the daemon was started, for the next daemon of a service.

        A group that hands controllers on takes no processes, and systemd puts a service's main process into
        the service's own group. So the limits of workers that wait to be adopted are off until they are.

        Raises:
            OSError: the kernel does not.
        """
        for path in (self.path, self._own):  # from the bottom up, the kernel wants it so
            for controller in sorted(_words(path, "cgroup.subtree_control")):
                _write(path, "cgroup.subtree_control", f"-{controller}")

    def holding(self, pid: int, name: str) -> Cgroup | None:
        """The group of this worker, if the process is in it: ours, or that of a daemon that stood elsewhere."""
        try:
            path = _path_of(pid)
        except (OSError, UnavailableError):
            return None
        ours = f"/{os.path.basename(self.path)}/{name}{_WORKER}"
        return Cgroup(path) if path.endswith(ours) else None

    def of_worker(self, name: str) -> Cgroup:
        """The group of this worker, made where it is missing.

        Raises:
            OSError: it can not be made.
        """
        group = Cgroup(os.path.join(self.path, f"{name}{_WORKER}"))
        with contextlib.suppress(FileExistsError):
            os.mkdir(group.path)
        return group

    def forget_worker(self, name: str) -> None:
        """The worker will not come back, or with other limits: remove its group, if it is empty."""
        Cgroup(os.path.join(self.path, f"{name}{_WORKER}")).remove()

    def enable(self, resources: Resources) -> None:
        """Let the groups of workers have the controllers that these limits need.

        Raises:
            SpawnError: one is missing here, or can not be handed on.
        """
        needed = {
            controller
            for field, controller in _CONTROLLER_OF.items()
            if getattr(resources, field) is not None
        }
        for controller in sorted(needed - _words(self.path, "cgroup.controllers")):
            if controller not in _words(self._own, "cgroup.controllers"):
                raise SpawnError(
                    f"no_controller:{controller}",
                    f"cannot limit resources: no {controller} controller in cgroup {self._own} "
                    "(resources; optional = true starts without)",
                )
            self._hand_on(self._own, controller)
        for controller in sorted(needed - _words(self.path, "cgroup.subtree_control")):
            self._hand_on(self.path, controller)

    def close(self) -> None:
        """Remove what is empty, and go back to where we came from."""
        for group in self._workers():
            group.remove()
        with contextlib.suppress(OSError):  # a worker that is left holds everything in place
            for path, controller in reversed(self._enabled):
                _write(path, "cgroup.subtree_control", f"-{controller}")
            if self._has_moved:
                self._move_ourselves(self._own)
            os.rmdir(os.path.join(self.path, _LEAF))
        with contextlib.suppress(OSError):
            os.rmdir(self.path)

    def _workers(self) -> Iterator[Cgroup]:
        for name in os.listdir(self.path):
            if name.endswith(_WORKER):
                yield Cgroup(os.path.join(self.path, name))

    def _hand_on(self, path: str, controller: str) -> None:
        """Enable a controller for the groups below `path`."""
        try:
            try:
                _write(path, "cgroup.subtree_control", f"+{controller}")
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                # A group other than the root that hands controllers on must not hold processes: us.
                leaf = os.path.join(self.path, _LEAF)
                os.makedirs(leaf, exist_ok=True)
                self._has_moved = True
                self._move_ourselves(leaf)
                _write(path, "cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            why, said = spawn_errors.name(error.errno), spawn_errors.words(error.errno)
            strangers = " (others live there)" if error.errno == errno.EBUSY else ""
            text = f"cannot enable controller {controller} in cgroup {path}: {said}{strangers}"
            raise SpawnError(why, text) from error
        self._enabled.append((path, controller))

    def _move_ourselves(self, target: str) -> None:
        """The daemon and those of its children who still are where it is."""
        here = set(_pids(_own_path()))
        for pid in (os.getpid(), *procfs.children_of(os.getpid())):
            if pid in here:
                with contextlib.suppress(ProcessLookupError):
                    _write(target, "cgroup.procs", str(pid))


# --- where we are, and files ---------------------------------------------------------------------------------


def _own_path() -> str:
    """The directory of the cgroup that this process is in."""
    return _path_of("self")


def _path_of(pid: int | str) -> str:
    """The directory of the cgroup that a process is in, as we see it."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        own = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), None)
    if own is None:
        raise UnavailableError("this kernel has no cgroup v2")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            # proc_pid_mountinfo(5): root and mount point are the fourth and fifth field, then dash and type
            mount, _, kind = line.partition(" - ")
            root, point = map(_unescaped, mount.split()[3:5])
            inside = root in ("/", own) or own.startswith(f"{root}/")
            if kind.startswith("cgroup2 ") and inside:
                below = own if root == "/" else own[len(root) :]
                return os.path.normpath(point + below)
    raise UnavailableError("no cgroup v2 hierarchy is mounted")


def _unescaped(field: str) -> str:
    """proc_pid_mountinfo(5) writes blanks as octal numbers."""
    for character in " \t\n\\":
        field = field.replace(f"\\{ord(character):03o}", character)
    return field


def _tree(path: str) -> Iterator[str]:
    """A group and all below it, from the top."""
    yield path
    with contextlib.suppress(FileNotFoundError), os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _tree(entry.path)


def _pids(path: str) -> list[int]:
    try:
        return [int(pid) for pid in _read(path, "cgroup.procs").split() if pid != b"0"]
    except OSError:  # removed meanwhile, or threaded: no processes of its own
        return []


def _words(path: str, file: str) -> set[str]:
    return set(_read(path, file).decode().split())


def _value(limit: int | None) -> str:
    return "max" if limit is None else str(limit)


def _read(path: str, file: str) -> bytes:
    with open(os.path.join(path, file), "rb") as opened:
        return opened.read()


def _write(path: str, file: str, value: str) -> None:
    """One write(2), whose error is the answer."""
    fd = os.open(os.path.join(path, file), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
