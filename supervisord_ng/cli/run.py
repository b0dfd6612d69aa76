"""``sng run``: becomes the daemon, in the foreground."""

from __future__ import annotations

import os
import sys

import click

from supervisord_ng.cli.session import Session
from supervisord_ng.errors import SupervisordNGError


@click.command("run")
@click.argument("file", metavar="FILE")
@click.option("--runtime-dir", metavar="DIR", help="As the option of sng itself.")
@click.option("--state-dir", metavar="DIR", help="As the option of sng itself.")
@click.pass_obj
def verb(session: Session, file: str, runtime_dir: str | None, state_dir: str | None) -> None:
    """Run the tree in FILE in the foreground.

    Shows what the workers write, each line with its name, and what the supervisors decide. Ctrl-C
    stops everything in order, a second one ends the waiting. This is the daemon itself: sng status
    and every other verb work from another terminal.
    """
    # -P: a module of the user's working directory must not shadow one of ours.
    command = [sys.executable, "-P", "-m", "supervisord_ng", "--console", "-c", file]
    if runtime := runtime_dir or session.runtime_dir:
        command += ["--runtime-dir", runtime]
    if state := state_dir or session.state_dir:
        command += ["--state-dir", state]
    sys.stdout.flush()
    try:
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise SupervisordNGError(
            f"cannot start the daemon: {(error.strerror or str(error)).lower()}: {command[0]}"
        ) from error
