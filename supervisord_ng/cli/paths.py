"""The PATHs that most verbs take, completed by a shell with the names that the daemon knows."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import click

from supervisord_ng.cli.session import Session
from supervisord_ng.errors import SupervisordNGError
from supervisord_ng.limits import COMPLETION_TIMEOUT_S

F = TypeVar("F", bound=Callable[..., object])


def paths_argument(*, required: bool = True) -> Callable[[F], F]:
    """The argument `paths` of a verb, a tuple."""
    metavar = "PATH..." if required else "[PATH]..."
    return click.argument(
        "paths", metavar=metavar, nargs=-1, required=required, shell_complete=_names
    )


def _names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names, or paths once there is a slash, that begin so; none when no daemon answers."""
    options = ctx.find_root().params
    session = Session(
        options.get("runtime_dir"),
        options.get("state_dir"),
        options.get("node"),
        os.environ,
        is_root=os.geteuid() == 0,
    )
    try:
        with session.client() as client:
            rows = client.request("status", {}, timeout_s=COMPLETION_TIMEOUT_S)["children"]
    except SupervisordNGError:
        return []  # there is nobody to tell, in the middle of a command line
    word = "path" if "/" in incomplete else "name"
    return [found for row in rows if (found := row[word]).startswith(incomplete)]
