"""``sng events``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from supervisord_ng.cli.output import json_option, say
from supervisord_ng.cli.session import Session


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Go on as things happen.")
@click.option("--since", metavar="SEQ", type=int, help="Only what came after event SEQ.")
@json_option
@click.pass_obj
def verb(session: Session, *, follow: bool, since: int | None, as_json: bool) -> None:
    """Show what happened and what the supervisors decided.

    Without -f all events that the daemon remembers; with -f what happens from now on, and before it
    with --since what came after that event. With --json one object a line; "seq" is what --since
    takes after an interruption.
    """
    with session.client() as client:
        for event in client.stream("events", {"since": since, "follow": follow}):
            if as_json:
                # One object a line even on a terminal, because it is a stream.
                click.echo(json.dumps(event, ensure_ascii=False))
            else:
                _print(event)
            if follow:
                sys.stdout.flush()


def _print(document: dict[str, Any]) -> None:
    # Imported here: the JSON of a stream needs none of it.
    import time

    import msgspec

    from supervisord_ng.cli.output import printable
    from supervisord_ng.model.reports import Event
    from supervisord_ng.model.words import describe, mood

    event = msgspec.convert(document, Event)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    who = event.path if event.path is not None else event.node
    say(printable(f"{when}  {event.seq:>5}  {who}  {describe(event)}"), mood(event))
