"""``sng delete``."""

from __future__ import annotations

import click

from supervisord_ng.cli.paths import paths_argument
from supervisord_ng.cli.results import json_option, order
from supervisord_ng.cli.session import Session


@click.command("delete")
@paths_argument()
@json_option
@click.pass_obj
def verb(session: Session, paths: tuple[str, ...], *, as_json: bool) -> None:
    """Remove stopped children from the running tree.

    A child of the file comes back when its supervisor is restarted, or when a reload changes what
    it runs. Instances of a template are removed by stop.
    """
    order(session, "delete", {"paths": list(paths)}, as_json=as_json)
