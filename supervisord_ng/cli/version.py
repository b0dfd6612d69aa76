"""``sng version``."""

from __future__ import annotations

import click

from supervisord_ng import __version__
from supervisord_ng.cli.output import json_option, print_json, say
from supervisord_ng.cli.session import Session
from supervisord_ng.errors import NoDaemonError


@click.command("version")
@json_option
@click.pass_obj
def verb(session: Session, *, as_json: bool) -> None:
    """Show the version of sng, and of the daemon if one runs."""
    try:
        with session.client() as client:
            daemon = client.request("version", {})
    except NoDaemonError:
        daemon = None
    if as_json:
        print_json({"version": __version__, "daemon": daemon})
        return
    say(f"sng {__version__}")
    if daemon is None:
        say("no daemon")
    else:
        say(
            f"daemon {daemon['version']} of node {daemon['node']}, pid {daemon['pid']},"
            f" Python {daemon['python']}, control protocol {daemon['protocol']}"
        )
