"""``sng reload``."""

from __future__ import annotations

import click

from supervisord_ng.cli import comparison
from supervisord_ng.cli.output import json_option
from supervisord_ng.cli.results import no_wait_option
from supervisord_ng.cli.session import Session


@click.command("reload")
@click.argument("file", metavar="[FILE]", required=False)
@no_wait_option
@json_option
@click.pass_obj
@click.pass_context
def verb(
    ctx: click.Context, session: Session, file: str | None, *, no_wait: bool, as_json: bool
) -> None:
    """Change the running tree to what FILE says, and nothing else.

    Without FILE the file that the daemon has read last is read again. What would change is what
    diff says. What operators have stopped stays stopped, children added at run time stay. Returns
    when what is new runs and what goes is gone.

    Exit status: 0 done, 1 something could not be started, 4 it cannot be done while the daemon
    runs, 78 the file is wrong; with 4 and 78 nothing has been touched.
    """
    args = {"file": comparison.absolute(file), "wait": not no_wait}
    with session.client() as client:
        done = client.request("reload", args, timeout_s=None)
    comparison.conclude(ctx, done, as_json=as_json)
