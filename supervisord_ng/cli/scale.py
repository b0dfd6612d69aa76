"""``sng scale``."""

from __future__ import annotations

import click

from supervisord_ng.cli import comparison
from supervisord_ng.cli.output import json_option
from supervisord_ng.cli.results import no_wait_option
from supervisord_ng.cli.session import Session


def _counts(_: click.Context, __: click.Parameter, said: tuple[str, ...]) -> dict[str, int]:
    """NAME=N, several times."""
    counts = {}
    for one in said:
        name, equals, number = one.partition("=")
        if not (name and equals and number.isascii() and number.isdecimal()):
            raise click.BadParameter(f"{one!r} is not NAME=N, such as resize=4")
        counts[name] = int(number)
    return counts


@click.command("scale")
@click.argument("counts", metavar="NAME=N...", nargs=-1, required=True, callback=_counts)
@no_wait_option
@json_option
@click.pass_obj
@click.pass_context
def verb(
    ctx: click.Context, session: Session, counts: dict[str, int], *, no_wait: bool, as_json: bool
) -> None:
    """Run N instances of the worker NAME, which has the key instances.

    The instances with low numbers stay as they are. Holds until a reload of a file that says
    another number.
    """
    with session.client() as client:
        done = client.request("scale", {"counts": counts, "wait": not no_wait}, timeout_s=None)
    comparison.conclude(ctx, done, as_json=as_json)
