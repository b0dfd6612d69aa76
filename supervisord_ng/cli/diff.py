"""``sng diff``."""

from __future__ import annotations

import click

from supervisord_ng.cli import comparison
from supervisord_ng.cli.output import json_option, print_json, say
from supervisord_ng.cli.session import Session
from supervisord_ng.errors import EXIT_FAILED


@click.command("diff")
@click.argument("file", metavar="[FILE]", required=False)
@json_option
@click.pass_obj
@click.pass_context
def verb(ctx: click.Context, session: Session, file: str | None, *, as_json: bool) -> None:
    """Say what reload FILE would change in the running tree, and why. Changes nothing.

    Without FILE it is the file that the daemon has read last. Names every worker that would be
    stopped or started, also those that go along with a changed sibling.

    Exit status: 0 nothing would change, 1 something would, 78 the file is wrong.
    """
    with session.client() as client:
        found = client.request("diff", {"file": comparison.absolute(file)}, timeout_s=None)
    if as_json:
        print_json(found)
    else:
        comparison.show(found)
        comparison.show_refusals(found)
        if not found["refused"]:
            say(comparison.counted(found))
    if not found["same"]:
        ctx.exit(EXIT_FAILED)
