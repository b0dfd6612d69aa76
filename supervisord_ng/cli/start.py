"""``sng start``."""

from __future__ import annotations

import click

from supervisord_ng.cli.paths import paths_argument
from supervisord_ng.cli.results import json_option, no_wait_option, order
from supervisord_ng.cli.session import Session


@click.command("start")
@paths_argument()
@no_wait_option
@json_option
@click.pass_obj
def verb(session: Session, paths: tuple[str, ...], *, no_wait: bool, as_json: bool) -> None:
    """Start workers, or whole supervisors, that are not running.

    Returns when each is ready. What runs already is left alone, and what waits for a restart is
    started at once. An operator's start is never counted as a restart.
    """
    order(session, "start", {"paths": list(paths), "wait": not no_wait}, as_json=as_json)
