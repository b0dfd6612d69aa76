"""``sng restart``."""

from __future__ import annotations

import click

from supervisord_ng.cli.paths import paths_argument
from supervisord_ng.cli.results import json_option, no_wait_option, order
from supervisord_ng.cli.session import Session


@click.command("restart")
@paths_argument()
@no_wait_option
@json_option
@click.pass_obj
def verb(session: Session, paths: tuple[str, ...], *, no_wait: bool, as_json: bool) -> None:
    """Stop and start workers, or whole supervisors.

    Returns when each is ready again. What was stopped is started. Never counted as a restart.
    """
    order(session, "restart", {"paths": list(paths), "wait": not no_wait}, as_json=as_json)
