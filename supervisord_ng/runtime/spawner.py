"""Turns a launch specification into a running process, or says which step failed and on what.

Knows nothing of trees, names or restarts; what a failed start means is the core's to decide. The
reaper takes the process from here.

Everything between fork and exec is done by `subprocess.Popen` in C: the daemon has threads
(libzmq's, the store's writer), and Python code between fork and exec (`preexec_fn`) may then
deadlock. Popen uses vfork(2) unless the user or a group is changed, so a start costs the same
however large the daemon is.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
from collections.abc import Mapping

import msgspec

from supervisord_ng import limits
from supervisord_ng.errors import SpawnError
from supervisord_ng.model.spec import LaunchSpec

# CPython ignores these at start-up for its own sake; Popen's `restore_signals` gives them back to
# the worker.
_IGNORED_BY_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})


class Process(msgspec.Struct, frozen=True):
    """A process just started. Whoever holds this owns `pidfd` and the duty to reap `pid`."""

    pid: int
    pidfd: int


class _Identity(msgspec.Struct, frozen=True):
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


def forget_inherited_signals() -> None:
    """Undo the signals that our parent ignored or blocked: they would pass to every worker.

    A shell that starts the daemon with ``&`` ignores SIGINT and SIGQUIT for it, nohup(1) SIGHUP;
    signal(7) says that handlers do not pass exec, but ignored and blocked signals do. To be called
    once, from the main thread, before the daemon installs its own handlers. What the daemon wants
    to ignore later it must therefore handle with a function that does nothing, never with SIG_IGN.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for signum in signal.valid_signals():
        if signum not in _IGNORED_BY_PYTHON and signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)


def spawn(
    launch: LaunchSpec,
    *,
    environment: Mapping[str, str],
    stdout: int,
    stderr: int,
    pass_fds: tuple[int, ...] = (),
) -> Process:
    """Start a worker and return when its exec(2) has succeeded.

    The worker leads a session and process group of its own, reads /dev/null, has the descriptors 0,
    1, 2 and `pass_fds` (under their own numbers) and no others, the umask of `launch`, every signal
    at its default, and exactly the environment given. A program without a slash is looked for in
    the worker's own PATH, a relative one from the worker's directory.

    Args:
        launch: What to start and as whom.
        environment: Variables on top of `launch.environment`.
        stdout: A descriptor, or `subprocess.DEVNULL`. It stays open here.
        stderr: The same.
        pass_fds: Descriptors that the worker gets besides.

    Raises:
        SpawnError: No process came of it, or none that could be watched; `why` is the errno name.
    """
    merged = {**launch.environment, **environment}
    identity = _identity_to_change(launch)
    try:
        popen = subprocess.Popen(
            launch.command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            close_fds=True,
            pass_fds=pass_fds,
            cwd=launch.directory,
            env=merged,
            restore_signals=True,
            start_new_session=True,
            user=identity.user,
            group=identity.group,
            extra_groups=identity.groups,
            umask=launch.umask,
        )
    except OSError as error:
        raise _explain(error, launch, merged, identity) from error
    except ValueError as error:  # a NUL byte in an argument, '=' in the name of a variable
        raise SpawnError("EINVAL", f"cannot start: {error}: {launch.command[0]!r}") from error
    # From here on the reaper waits for the child. Popen must believe that somebody has waited
    # already, else its destructor warns, polls with waitpid and keeps the object in a list that
    # every later Popen polls: each of these may take the exit status from the reaper. asyncio sets
    # this attribute for the same reason.
    popen.returncode = 0
    return Process(popen.pid, _open_pidfd(popen.pid))


def _open_pidfd(pid: int) -> int:
    """Open the pidfd of a child that nobody reaps before us, so its pid is still its own."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # A worker that can not be watched must not run: it would neither be restarted nor stopped.
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise SpawnError(_name(error), f"cannot watch process {pid}: {_words(error)}") from error


def _identity_to_change(launch: LaunchSpec) -> _Identity:
    """Leave out what is so already: a change needs privilege, and costs a fork for the vfork.

    A change of user without a word about its groups drops all supplementary groups, because the
    daemon's own (root's) would go with the worker otherwise.
    """
    user, group, groups = launch.user, launch.group, launch.groups
    if user is not None and set(os.getresuid()) == {user}:
        user = None
    if group is not None and set(os.getresgid()) == {group}:
        group = None
    if groups is None and user is not None:
        groups = ()
    if groups is not None and set(groups) == set(os.getgroups()):
        groups = None
    return _Identity(user, group, groups)


def _explain(
    error: OSError, launch: LaunchSpec, environment: Mapping[str, str], identity: _Identity
) -> SpawnError:
    """Find the step that failed.

    Popen hands over the child's errno and tells the steps apart by the file name only: the
    program's for exec, the directory's for chdir (in some versions for the other steps before exec
    as well), and none or that of /dev/null where no child was made. What is looked up here serves
    the message; `why` is always the kernel's word.
    """
    why = _name(error)
    if error.filename == launch.command[0]:
        return SpawnError(why, f"cannot start: {_explain_exec(error, launch, environment)}")
    # chdir(2) knows neither of these two; they come from setgroups(2), setregid(2) and setreuid(2).
    if error.errno in (errno.EPERM, errno.EINVAL) and identity != _Identity(None, None, None):
        hint = "" if os.geteuid() == 0 else " (the daemon does not run as root)"
        return SpawnError(why, f"cannot become {identity}: {_words(error)}{hint}")
    if launch.directory is not None and error.filename == launch.directory:
        return SpawnError(why, f"cannot change to directory {launch.directory}: {_words(error)}")
    return SpawnError(why, f"cannot create a process: {_words(error)}: {launch.command[0]}")


def _explain_exec(error: OSError, launch: LaunchSpec, environment: Mapping[str, str]) -> str:
    """Say in words why exec(2) refused, from its errno and a look at the file."""
    program = launch.command[0]
    candidates = _candidates(program, launch.directory, environment)
    found = next((path for path in candidates if os.path.lexists(path)), None)
    if error.errno == errno.E2BIG:
        return f"arguments and environment are too long: {program}"
    if found is None:
        if "/" in program:
            absent = "no such file" if error.errno == errno.ENOENT else _words(error)
            return f"{absent}: {candidates[0]} (command)"
        searched = ":".join(os.get_exec_path(environment))
        return f"no such program: {program} (command; searched {searched})"
    if error.errno == errno.ENOENT:
        return _explain_missing_part(found)
    if error.errno == errno.EACCES:
        return _explain_denied(found)
    if error.errno == errno.ENOEXEC:
        return f"not a program: {found} (a script needs a first line with #!)"
    return f"{_words(error)}: {found} (command)"


def _candidates(program: str, directory: str | None, environment: Mapping[str, str]) -> list[str]:
    """The files that exec was tried on, as absolute as the worker's directory is."""
    base = directory if directory is not None else os.getcwd()
    if "/" in program:
        return [os.path.join(base, program)]
    return [os.path.join(base, folder, program) for folder in os.get_exec_path(environment)]


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
    words = first[2:].split() if first.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else None


def _name(error: OSError) -> str:
    """The symbol of the errno, the stable word of a report."""
    return errno.errorcode.get(error.errno or 0, "unknown")


def _words(error: OSError) -> str:
    """What strerror(3) says, in the house's lower case."""
    return os.strerror(error.errno or 0).lower()
