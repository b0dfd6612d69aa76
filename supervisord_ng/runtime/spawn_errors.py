"""Says why a start failed: the step, the path or name it failed on, and a remedy where there is one.

`why` is always the kernel's word, the name of an errno. What is looked up here afterwards, in the file system,
serves the message.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from supervisord_ng import limits
from supervisord_ng.errors import SpawnError
from supervisord_ng.model.spec import LaunchSpec


class Identity(msgspec.Struct, frozen=True):
    """What must change between the daemon's identity and the worker's; None leaves one alone."""

    user: int | None
    group: int | None
    groups: tuple[int, ...] | None

    def __str__(self) -> str:
        if self.user is not None:
            return f"user {self.user}"
        if self.group is not None:
            return f"group {self.group}"
        return f"a member of groups {', '.join(map(str, self.groups or ()))}"


UNCHANGED = Identity(None, None, None)


class Attempt(NamedTuple):
    """What was tried: for whom, with the whole environment, and what it was to become."""

    launch: LaunchSpec
    environment: Mapping[str, str]
    identity: Identity


def of_popen(error: OSError, attempt: Attempt) -> SpawnError:
    """Find the step that failed inside of Popen.

    Popen hands over the child's errno and tells the steps apart by the file name only: the
    program's for exec, the directory's for chdir (in some versions for the other steps before exec
    as well), and none or that of /dev/null where no child was made.
    """
    launch, _, identity = attempt
    if error.filename == launch.command[0]:
        return of_step("exec", error.errno, "", attempt)
    # chdir(2) knows neither of these two; they come from setgroups(2), setregid(2) and setreuid(2).
    if error.errno in (errno.EPERM, errno.EINVAL) and identity != UNCHANGED:
        return of_step("identity", error.errno, "", attempt)
    if launch.directory is not None and error.filename == launch.directory:
        return of_step("directory", error.errno, "", attempt)
    return of_step("other", error.errno, "", attempt)


def of_step(step: str, number: int | None, what: str, attempt: Attempt) -> SpawnError:
    """Put the failure of one step into words.

    Args:
        step: as `runtime.forkserver` names it.
        number: the errno.
        what: what the step was about: the name of a limit, a value.
        attempt: what failed in it.
    """
    launch, environment, identity = attempt
    said = words(number)
    match step:
        case "exec":
            text = f"cannot start: {_explain_exec(number, launch, environment)}"
        case "argument":
            text = f"cannot start: {what}: {launch.command[0]!r}"
        case "identity":
            text = f"cannot become {identity}: {said}{_unprivileged()}"
        case "directory":
            text = f"cannot change to directory {launch.directory}: {said}"
        case "limits":
            value = launch.limits[what]
            text = f"cannot limit {what} to {_limit(value)}: {said}{_hard_limit(what)}"
        case "nice":
            text = f"cannot set nice to {what}: {said}{_unprivileged()}"
        case "oom_score_adj":
            text = f"cannot set oom_score_adj to {what}: {said}{_unprivileged()}"
        case "no_new_privileges":
            text = f"cannot set no_new_privileges: {said}"
        case "cgroup":
            text = f"cannot enter its cgroup: {said}"
        case _:
            text = f"cannot create a process: {what or said}: {launch.command[0]}"
    return SpawnError(name(number), text)


def name(number: int | None) -> str:
    """The symbol of an errno, the stable word of a report."""
    return errno.errorcode.get(number or 0, "unknown")


def words(number: int | None) -> str:
    """What strerror(3) says, in the house's lower case."""
    return os.strerror(number or 0).lower()


# --- privileges ----------------------------------------------------------------------------------------------


def _unprivileged() -> str:
    return "" if os.geteuid() == 0 else " (the daemon does not run as root)"


def _limit(value: int) -> str:
    return "infinity" if value == resource.RLIM_INFINITY else str(value)


def _hard_limit(limit: str) -> str:
    """Say who set the bound: setrlimit(2) and, for open files, proc_sys_fs(5)."""
    if limit == "nofile" and os.geteuid() == 0:
        with open("/proc/sys/fs/nr_open", encoding="ascii") as nr_open:
            return f" (limits.nofile; fs.nr_open of this host is {nr_open.read().strip()})"
    hard = resource.getrlimit(getattr(resource, f"RLIMIT_{limit.upper()}"))[1]
    return f" (limits.{limit}; the daemon's own hard limit is {_limit(hard)})"


# --- exec ----------------------------------------------------------------------------------------------------


def candidates(program: str, directory: str | None, environment: Mapping[str, str]) -> list[str]:
    """The files that exec is tried on, as absolute as the worker's directory is."""
    base = directory if directory is not None else os.getcwd()
    if "/" in program:
        return [os.path.join(base, program)]
    return [os.path.join(base, folder, program) for folder in os.get_exec_path(environment)]


def _explain_exec(number: int | None, launch: LaunchSpec, environment: Mapping[str, str]) -> str:
    """Say in words why exec(2) refused, from its errno and a look at the file."""
    program = launch.command[0]
    tried = candidates(program, launch.directory, environment)
    found = next((path for path in tried if os.path.lexists(path)), None)
    if number == errno.E2BIG:
        return f"arguments and environment are too long: {program}"
    if found is None:
        if "/" in program:
            absent = "no such file" if number == errno.ENOENT else words(number)
            return f"{absent}: {tried[0]} (command)"
        searched = ":".join(os.get_exec_path(environment))
        return f"no such program: {program} (command; searched {searched})"
    if number == errno.ENOENT:
        return _explain_missing_part(found)
    if number == errno.EACCES:
        return _explain_denied(found)
    if number == errno.ENOEXEC:
        return f"not a program: {found} (a script needs a first line with #!)"
    if number == errno.EAGAIN and "nproc" in launch.limits:
        return f"the user has more processes than limits.nproc allows: {found}"
    return f"{words(number)}: {found} (command)"


def _explain_missing_part(path: str) -> str:
    """Exec said ENOENT of a file that is there: what it needs is not."""
    if not os.path.exists(path):
        return f"no such file: {os.path.realpath(path)} (where the link {path} points)"
    interpreter = _interpreter(path)
    if interpreter is None:
        return f"no such loader or library: {path} (command)"
    return f"bad interpreter: {interpreter} (first line of {path})"


def _explain_denied(path: str) -> str:
    """Exec said EACCES: name the common causes that a look from here can show."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return f"permission denied: {path} (command)"
    if stat.S_ISDIR(mode):
        return f"is a directory: {path} (command)"
    if not stat.S_ISREG(mode):
        return f"not a regular file: {path} (command)"
    if not mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH):
        return f"not executable: {path} (command; chmod +x)"
    return f"permission denied: {path} (command)"


def _interpreter(path: str) -> str | None:
    """The program that a script's first line asks for (execve(2), "Interpreter scripts")."""
    try:
        with open(path, "rb") as script:
            first = script.readline(limits.SCRIPT_LINE_MAX)
    except OSError:
        return None
    named = first[2:].split() if first.startswith(b"#!") else []
    return os.fsdecode(named[0]) if named else None
