"""Turns a launch specification into a running process, or says which step failed and on what.

Knows nothing of trees, names or restarts; what a failed start means is the core's to decide. The
reaper takes the process from here.

Everything between fork and exec is done by `subprocess.Popen` in C: the daemon has threads
(libzmq's, the store's writer), and Python code between fork and exec (`preexec_fn`) may then
deadlock. Popen uses vfork(2) unless the user or a group is changed, so a start costs the same
however large the daemon is. What Popen has no argument for, limits and the like, is done by a fork
server with one thread (`runtime.launcher`), which costs a real fork(2) of a small process.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Mapping

import msgspec

from supervisord_ng.errors import SpawnError
from supervisord_ng.model.spec import LaunchSpec
from supervisord_ng.runtime import spawn_errors
from supervisord_ng.runtime.launcher import Launcher
from supervisord_ng.runtime.spawn_errors import Attempt, Identity

# CPython ignores these at start-up for its own sake; Popen's `restore_signals` gives them back to
# the worker.
_IGNORED_BY_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})


class Process(msgspec.Struct, frozen=True):
    """A process just started. Whoever holds this owns `pidfd` and the duty to reap `pid`."""

    pid: int
    pidfd: int


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
    launcher: Launcher | None = None,
    cgroup: int | None = None,
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
        launcher: For what Popen can not do, see `needs_launcher`.
        cgroup: The directory, opened, of the cgroup in which the worker is born; with `launcher`.

    Raises:
        SpawnError: No process came of it, or none that could be watched; `why` is the errno name.
    """
    identity = _identity_to_change(launch)
    attempt = Attempt(launch, {**launch.environment, **environment}, identity)
    if launcher is None:
        assert not needs_launcher(launch), "Popen cannot do this"
        pid = _popen(attempt, stdout, stderr, pass_fds)
    else:
        pid = launcher.start(attempt, stdout, stderr, pass_fds, cgroup)
    return Process(pid, _open_pidfd(pid))


def needs_launcher(launch: LaunchSpec) -> bool:
    """Say whether something has to be done in the child for which Popen has no argument."""
    return bool(
        launch.limits
        or launch.nice is not None
        or launch.oom_score_adj is not None
        or launch.no_new_privileges
        or launch.resources is not None
    )


def _popen(attempt: Attempt, stdout: int, stderr: int, pass_fds: tuple[int, ...]) -> int:
    """The short way: one vfork(2)."""
    launch, environment, identity = attempt
    try:
        popen = subprocess.Popen(
            launch.command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            close_fds=True,
            pass_fds=pass_fds,
            cwd=launch.directory,
            env=environment,
            restore_signals=True,
            start_new_session=True,
            user=identity.user,
            group=identity.group,
            extra_groups=identity.groups,
            umask=launch.umask,
        )
    except OSError as error:
        raise spawn_errors.of_popen(error, attempt) from error
    except ValueError as error:  # a NUL byte in an argument, '=' in the name of a variable
        raise spawn_errors.of_step("argument", errno.EINVAL, str(error), attempt) from error
    # From here on the reaper waits for the child. Popen must believe that somebody has waited
    # already, else its destructor warns, polls with waitpid and keeps the object in a list that
    # every later Popen polls: each of these may take the exit status from the reaper. asyncio sets
    # this attribute for the same reason.
    popen.returncode = 0
    return popen.pid


def _open_pidfd(pid: int) -> int:
    """Open the pidfd of a child that nobody reaps before us, so its pid is still its own."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # A worker that can not be watched must not run: it would neither be restarted nor stopped.
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        why, said = spawn_errors.name(error.errno), spawn_errors.words(error.errno)
        raise SpawnError(why, f"cannot watch process {pid}: {said}") from error


def _identity_to_change(launch: LaunchSpec) -> Identity:
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
    return Identity(user, group, groups)
