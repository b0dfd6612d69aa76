"""``sng shutdown``."""

from __future__ import annotations

from contextlib import closing

import click

from supervisord_ng.cli.output import json_option, print_json, say
from supervisord_ng.cli.session import Session


@click.command("shutdown")
@click.option("--now", is_flag=True, help="Kill what does not end at once.")
@click.option("--no-wait", is_flag=True, help="Return when the stop has begun.")
@click.option("--all", "everywhere", is_flag=True, help="Stop the trees of the nodes below too.")
@json_option
@click.pass_obj
def verb(session: Session, *, now: bool, no_wait: bool, everywhere: bool, as_json: bool) -> None:
    """Stop everything in order, last started first, and end the daemon.

    Returns when the daemon is gone, with --node when its shutdown has begun. Called again with
    --now while a shutdown takes its time, it ends the waiting. Nodes below go on as they are
    without --all, which stops their trees; their daemons wait for this one to return.
    """
    no_wait = no_wait or session.node is not None
    with session.client() as client, closing(client.watch()) as daemon:
        client.request("shutdown", {"now": now, "all": everywhere})
        if not no_wait:
            daemon.wait()
    if as_json:
        print_json({"waited": not no_wait})
    else:
        say("shutting down" if no_wait else "shut down")
