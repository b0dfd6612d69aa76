"""``sng stop``."""

from __future__ import annotations

import click

from supervisord_ng.cli.paths import paths_argument
from supervisord_ng.cli.results import json_option, no_wait_option, order
from supervisord_ng.cli.session import Session


@click.command("stop")
@paths_argument()
@no_wait_option
@json_option
@click.pass_obj
def verb(session: Session, paths: tuple[str, ...], *, no_wait: bool, as_json: bool) -> None:
    """Stop workers, or whole supervisors, and keep them stopped.

    Returns when each is gone, with everything it had started. What is stopped already is left
    alone. Outlives a crash of the daemon, not an orderly restart: that is autostart = false.
    """
    order(session, "stop", {"paths": list(paths), "wait": not no_wait}, as_json=as_json)
