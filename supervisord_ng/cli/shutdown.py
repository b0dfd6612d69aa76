"""``sng shutdown``."""

from __future__ import annotations

from contextlib import closing

import click

from supervisord_ng.cli.output import json_option, print_json, say
from supervisord_ng.cli.session import Session


@click.command("shutdown")
@click.option("--now", is_flag=True, help="Kill what does not end at once.")
@click.option("--no-wait", is_flag=True, help="Return when the stop has begun.")
@json_option
@click.pass_obj
def verb(session: Session, *, now: bool, no_wait: bool, as_json: bool) -> None:
    """Stop everything in order, last started first, and end the daemon.

    Returns when the daemon is gone. Called again with --now while a shutdown takes its time, it
    ends the waiting.
    """
    with session.client() as client, closing(client.watch()) as daemon:
        client.request("shutdown", {"now": now})
        if not no_wait:
            daemon.wait()
    if as_json:
        print_json({"waited": not no_wait})
    else:
        say("shutting down" if no_wait else "shut down")
