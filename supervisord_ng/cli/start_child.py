"""``sng start-child``."""

from __future__ import annotations

import click

from supervisord_ng.cli.results import json_option, no_wait_option, order
from supervisord_ng.cli.session import Session


@click.command("start-child")
@click.argument("supervisor", metavar="SUP")
@click.option(
    "--name", metavar="NAME", help="Default, of a template: its name with the next number."
)
@click.option("--toml", metavar="KEYS", help="What would stand in the file: 'command = \"...\"'.")
@click.argument("args", metavar="[-- ARGS]", nargs=-1)
@no_wait_option
@json_option
@click.pass_obj
def verb(
    session: Session,
    supervisor: str,
    name: str | None,
    toml: str | None,
    args: tuple[str, ...],
    *,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Add a child to the supervisor SUP and start it.

    Below a simple_one_for_one supervisor it is an instance of the template, with ARGS appended to
    the command; elsewhere --name and --toml say what it is. It is forgotten when its supervisor is
    restarted, as in OTP; a reload leaves it alone.
    """
    asked = {"supervisor": supervisor, "name": name, "toml": toml, "args": list(args)}
    order(session, "start-child", {**asked, "wait": not no_wait}, as_json=as_json)
