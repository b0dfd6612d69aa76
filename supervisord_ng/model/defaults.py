"""Where a node keeps its files when nobody says so: the one rule that the daemon and ``sng`` share.

Pure: the environment is handed in, nothing is looked up. systemd.exec(5) describes
RUNTIME_DIRECTORY and STATE_DIRECTORY, the XDG Base Directory Specification the others.
"""

from __future__ import annotations

from collections.abc import Mapping

NAME = "supervisord-ng"
SYSTEM_RUNTIME_DIR = f"/run/{NAME}"
SYSTEM_STATE_DIR = f"/var/lib/{NAME}"


def default_runtime_dir(environ: Mapping[str, str], *, is_root: bool) -> str | None:
    """The runtime directory of a node that names none.

    Returns:
        $RUNTIME_DIRECTORY, else $XDG_RUNTIME_DIR/supervisord-ng, else /run/supervisord-ng for root;
        None when an ordinary user has neither variable.
    """
    if given := _first(environ.get("RUNTIME_DIRECTORY", "")):
        return given
    if base := environ.get("XDG_RUNTIME_DIR", ""):
        return f"{base}/{NAME}"
    return SYSTEM_RUNTIME_DIR if is_root else None


def default_state_dir(environ: Mapping[str, str], *, is_root: bool) -> str | None:
    """The state directory of a node that names none.

    Returns:
        $STATE_DIRECTORY, else /var/lib/supervisord-ng for root, else
        $XDG_STATE_HOME/supervisord-ng, else ~/.local/state/supervisord-ng; None when an ordinary
        user has no home either.
    """
    if given := _first(environ.get("STATE_DIRECTORY", "")):
        return given
    if is_root:
        return SYSTEM_STATE_DIR
    if base := environ.get("XDG_STATE_HOME", ""):
        return f"{base}/{NAME}"
    if home := environ.get("HOME", ""):
        return f"{home}/.local/state/{NAME}"
    return None


def _first(directories: str) -> str:
    # systemd joins several directories of one unit with colons; the first is the node's own.
    return directories.partition(":")[0]
