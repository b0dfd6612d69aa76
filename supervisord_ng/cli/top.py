"""``sng top``: the tree as it lives. What draws it is an optional extra, and stands in `top_app`."""

from __future__ import annotations

import sys

import click

from supervisord_ng.cli.paths import paths_argument
from supervisord_ng.cli.session import Session
from supervisord_ng.errors import SupervisordNGError


@click.command("top")
@paths_argument(required=False)
@click.pass_obj
def verb(session: Session, paths: tuple[str, ...]) -> None:
    """Watch the tree live: states, CPU, memory, restarts, beats.

    Keys: s starts, x stops, r restarts what the cursor is on (a supervisor: all below it), l shows
    its log, q ends. CPU is in percent of one processor, memory what is resident, both of a worker
    with all that descends from its main process.
    """
    if not sys.stdout.isatty():
        raise click.UsageError("cannot show top: not a terminal (see: sng status -w)")
    try:
        from supervisord_ng.cli.top_app import Top
    except ModuleNotFoundError as error:
        raise SupervisordNGError(
            f"cannot show top: no module {error.name} (pip install 'supervisord-ng[top]')"
        ) from error
    with session.client() as client:
        client.request("status", {"paths": list(paths)})  # no daemon, no such name: said as ever
    Top(session.client, list(paths)).run()
