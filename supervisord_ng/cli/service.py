"""``sng service install``: the systemd unit of this installation for a tree."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import tempfile

import click

from supervisord_ng.cli import shipped
from supervisord_ng.cli.output import json_option, print_json, say
from supervisord_ng.errors import SupervisordNGError
from supervisord_ng.model.defaults import NAME, SYSTEM_RUNTIME_DIR, SYSTEM_STATE_DIR

# How a file of ours is told from anybody else's.
MARK = '# Written by "sng service install", which replaces it when it is called again.\n'
# What stands in the units that are shipped, as a package of a distribution would have it.
DAEMON, CONTROL, TREE = (
    "/usr/bin/supervisord-ng",
    "/usr/bin/sng",
    "/etc/supervisord-ng/tree.toml",
)
USER_TREE = "%E/supervisord-ng/tree.toml"
SYSTEM_UNITS = "/etc/systemd/system"
UNIT_MODE = 0o644


@click.group("service")
def verb() -> None:
    """Run the daemon as a service of systemd."""


@verb.command("install")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--user", "as_user", is_flag=True, help="For your own systemd, not the system's.")
@click.option(
    "--template",
    is_flag=True,
    help="supervisord-ng@.service, for several trees: /etc/supervisord-ng/NAME.toml.",
)
@json_option
def install(file: str | None, *, as_user: bool, template: bool, as_json: bool) -> None:
    """Write a unit that runs the tree FILE with this installation, and say what to type next.

    FILE is /etc/supervisord-ng/tree.toml, or ~/.config/supervisord-ng/tree.toml with --user,
    where it is left out. A unit that somebody else wrote is left alone. Starts nothing.
    """
    if template and (file is not None or as_user):
        raise click.UsageError("cannot have a FILE or --user for --template: its trees lie in /etc")
    unit = f"{NAME}@.service" if template else f"{NAME}.service"
    text = shipped.read(f"systemd/{'user/' if as_user else ''}{unit}")
    if not template:
        tree = os.path.abspath(file or _default_tree(as_user=as_user))
        _check(tree, as_user=as_user)
        text = text.replace(USER_TREE if as_user else TREE, _quoted(tree))
    for program in (DAEMON, CONTROL):
        text = text.replace(program, _quoted(_program(os.path.basename(program))))
    path = os.path.join(_user_units() if as_user else SYSTEM_UNITS, unit)
    _write(path, MARK + text)
    systemctl = "systemctl --user" if as_user else "systemctl"
    started = f"{NAME}@NAME" if template else NAME
    commands = [f"{systemctl} daemon-reload", f"{systemctl} enable --now {started}"]
    if as_json:
        print_json({"unit": path, "commands": commands})
        return
    say(f"wrote {path}; now type")
    for command in commands:
        say(f"    {command}")


def _default_tree(*, as_user: bool) -> str:
    return os.path.join(_user_config(), NAME, "tree.toml") if as_user else TREE


def _user_config() -> str:
    return os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")


def _user_units() -> str:
    return os.path.join(_user_config(), "systemd", "user")


def _check(tree: str, *, as_user: bool) -> None:
    """Refuse a tree that the daemon would refuse.

    Raises:
        ConfigError: it is wrong.
    """
    from supervisord_ng import config

    runtime_dir = None if as_user else SYSTEM_RUNTIME_DIR
    config.load(tree, runtime_dir=runtime_dir, state_dir=None if as_user else SYSTEM_STATE_DIR)


def _program(name: str) -> str:
    """A program of this installation, where pip, pipx, uv or a distribution puts it."""
    folders = (
        os.path.dirname(sys.executable),
        sysconfig.get_path("scripts"),
        os.path.dirname(os.path.abspath(sys.argv[0])),
    )
    for folder in folders:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    raise SupervisordNGError(f"cannot find the program {name} in any of {', '.join(folders)}")


def _quoted(path: str) -> str:
    """A path as one word of a command line in a unit, systemd.service(5), "Command lines"."""
    for character, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        path = path.replace(character, written)
    return f'"{path}"' if any(character in path for character in " \t;'\"\\") else path


def _write(path: str, text: str) -> None:
    """Write a file as a whole or not at all, and never over one that is not ours.

    Raises:
        SupervisordNGError: it cannot be written, or is somebody else's.
    """
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, exist_ok=True)
        if os.path.lexists(path) and not _is_ours(path):
            raise SupervisordNGError(
                f"cannot write {path}: there is one already that somebody else wrote"
                " (remove it, or change it by a drop-in: systemctl edit supervisord-ng)"
            )
        descriptor, temporary = tempfile.mkstemp(prefix=f".{NAME}.", dir=directory)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(temporary, UNIT_MODE)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        hint = " (become root, or use --user)" if isinstance(error, PermissionError) else ""
        raise SupervisordNGError(f"cannot write {path}: {why}{hint}") from error


def _is_ours(path: str) -> bool:
    if os.path.islink(path) or not os.path.isfile(path):
        return False  # masked, for example: a link to /dev/null
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(len(MARK)) == MARK
