"""What the configuration takes from this host: who runs the daemon, its environment, users and groups."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping

import msgspec

from supervisord_ng.config import raw
from supervisord_ng.config.explain import show, with_hint
from supervisord_ng.config.places import Notes
from supervisord_ng.config.tables import Section


class Host(msgspec.Struct, frozen=True):
    """The daemon's own surroundings, handed in so that a test can be another user or another host."""

    environ: Mapping[str, str]
    name: str
    user: int
    group: int

    @property
    def is_root(self) -> bool:
        """Say whether the daemon may become somebody else."""
        return self.user == 0


def this_host(environ: Mapping[str, str] | None = None) -> Host:
    """The host and the user of this process; `environ` in place of the process's own environment."""
    return Host(
        environ=os.environ if environ is None else environ,
        name=os.uname().nodename,
        user=os.geteuid(),
        group=os.getegid(),
    )


class Identity(msgspec.Struct, frozen=True):
    """As whom a worker runs; None is the daemon's own. `variables` are those that login(1) would set."""

    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] | None = None
    variables: Mapping[str, str] = {}


def identity_of(worker: Section[raw.Worker], host: Host, notes: Notes) -> Identity:
    """Look up the user and the groups of a worker.

    Without `group` it is the user's primary one, without `groups` those that the user is a member of, as
    initgroups(3) would set them. A daemon that is not root can not change any of these, so what the file does
    not name stays what it is.
    """
    said = worker.said
    account = _account(worker, said.user, notes)
    group = None if said.group is None else _group(worker, "group", said.group, notes)
    groups = _groups(worker, said.groups, notes)
    user = account.pw_uid if account else said.user
    if isinstance(user, str):
        return Identity()
    if not host.is_root:
        _refuse_change(worker, host, user, group, groups, notes)
    elif account is not None:
        group = account.pw_gid if said.group is None else group
        if groups is None and group is not None:
            groups = tuple(os.getgrouplist(account.pw_name, group))
    elif user is not None and said.group is None:
        text = f"cannot be {user} without group: this host knows no user with this number"
        worker.problem(notes, f"{text} (set group as well)", "user")
    return Identity(user, group, groups, _variables(account))


def _account(
    worker: Section[raw.Worker], user: str | int | None, notes: Notes
) -> pwd.struct_passwd | None:
    if user is None:
        return None
    try:
        return pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError:
        if isinstance(user, str):
            worker.problem(notes, no_such("user", user), "user")
        return None


def _group(worker: Section[raw.Worker], key: str, group: str | int, notes: Notes) -> int | None:
    if isinstance(group, int):
        return group
    number = group_number(group)
    if number is None:
        worker.problem(notes, no_such("group", group), key)
    return number


def _groups(
    worker: Section[raw.Worker], groups: tuple[str | int, ...] | None, notes: Notes
) -> tuple[int, ...] | None:
    if groups is None:
        return None
    numbers = [_group(worker, "groups", group, notes) for group in groups]
    return tuple(number for number in numbers if number is not None)


def group_number(name: str) -> int | None:
    """The number of a group of this host, None if there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def no_such(kind: str, name: str) -> str:
    """The second half of a message about an unknown user or group."""
    hint = "numbers are written without quotes" if name.isdecimal() else None
    return with_hint(f"cannot be {show(name)}: this host has no such {kind}", hint)


def _refuse_change(
    worker: Section[raw.Worker],
    host: Host,
    user: int | None,
    group: int | None,
    groups: tuple[int, ...] | None,
    notes: Notes,
) -> None:
    said = worker.said
    changes = {
        "user": (said.user, user is not None and user != host.user),
        "group": (said.group, said.group is not None and group not in (None, host.group)),
        "groups": (said.groups, groups is not None),
    }
    for key, (value, is_change) in changes.items():
        if is_change:
            text = f"cannot be {show(value)}: the daemon is not root (it runs as user {host.user})"
            worker.problem(notes, text, key)


def _variables(account: pwd.struct_passwd | None) -> Mapping[str, str]:
    if account is None:
        return {}
    return {
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell or "/bin/sh",  # passwd(5): an empty field means this one
    }
