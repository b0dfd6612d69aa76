"""``sng events``."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from supervisord_ng.cli.output import json_option, print_json, say
from supervisord_ng.cli.session import Session
from supervisord_ng.errors import SupervisordNGError


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Go on as things happen.")
@click.option("--since", metavar="SEQ", type=int, help="Only what came after event SEQ.")
@click.option("--record", metavar="FILE", help="Write the flight record into a new FILE instead.")
@json_option
@click.pass_obj
def verb(
    session: Session, *, follow: bool, since: int | None, record: str | None, as_json: bool
) -> None:
    """Show what happened and what the supervisors decided.

    Without -f all events that the daemon remembers; with -f what happens from now on, and before it
    with --since what came after that event. With --json one object a line; "seq" is what --since
    takes after an interruption.

    --record writes everything the daemon knows of its last hours or minutes, for a report of a bug:
    python -m supervisord_ng.sim.replay FILE lives it again. FILE is readable for you only; it has
    names and commands, and no values of environment variables.
    """
    if record is not None:
        if follow or since is not None:
            raise click.UsageError("--record stands alone: it takes all that the daemon remembers")
        _record(session, record, as_json=as_json)
        return
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


def _record(session: Session, path: str, *, as_json: bool) -> None:
    """Fetch the flight record into a new file; leave none behind that is not whole."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file, session.client() as client:
            header = ""
            for line in client.stream("events.record", {}):
                header = header or line
                file.write(f"{line}\n")
    except BaseException as error:
        os.unlink(path)
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise
    events = json.loads(header)["events"]
    if as_json:
        print_json({"file": path, "events": events})
    else:
        say(f"wrote {path}: {events} events; python -m supervisord_ng.sim.replay {path}")


def _cannot_write(path: str, error: OSError) -> SupervisordNGError:
    return SupervisordNGError(f"cannot write {path}: {(error.strerror or str(error)).lower()}")
