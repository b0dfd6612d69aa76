"""``sng logs``, also ``tail``. Who may read the files reads them here: the daemon has better things to do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import click

from supervisord_ng.cli.output import complain, json_option
from supervisord_ng.cli.paths import paths_argument
from supervisord_ng.cli.session import Session
from supervisord_ng.control.client import Client
from supervisord_ng.limits import LOGS_SHOWN_DEFAULT


@click.command("logs")
@paths_argument()
@click.option(
    "-n",
    "--lines",
    metavar="N",
    type=click.IntRange(min=0),
    default=LOGS_SHOWN_DEFAULT,
    show_default=True,
    help="So many of the last lines of each, from rotated files too.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@json_option
@click.pass_obj
def verb(
    session: Session, paths: tuple[str, ...], *, lines: int, follow: bool, as_json: bool
) -> None:
    """Show what workers wrote.

    The lines of one worker come as they are, those of several begin with its name. With --json one
    object a line: {"name", "line"}.
    """
    asked: dict[str, Any] = {"paths": list(paths)}
    with session.client() as client:
        logs = client.request("logs.files", asked)["logs"]
        found = {}
        for log in logs:
            if log["file"] is None:
                complain(f"cannot show the log of {log['path']}: its output is not captured")
            else:
                found[log["name"]] = log
        is_here = session.node is None
        if is_here and all(_is_readable(log["file"]) for log in found.values()):
            written = _read(found, lines, follow=follow)
        else:
            written = _ask(client, asked | {"lines": lines, "follow": follow})
        width = max(map(len, found)) if len(found) > 1 and not as_json else None
        _print(sys.stdout.buffer, written, width, as_json=as_json, flush=follow)
    sys.stdout.buffer.flush()


def _is_readable(file: str) -> bool:
    """Whether we may read a log ourselves, or could if it were there."""
    return os.access(file, os.R_OK) or (
        not os.path.lexists(file) and os.access(os.path.dirname(file), os.R_OK | os.X_OK)
    )


def _read(
    logs: dict[str, dict[str, Any]], lines: int, *, follow: bool
) -> Iterator[tuple[str, bytes]]:
    """The last lines of every log, and then, when following, what is written."""
    from supervisord_ng.model.logs import text_of
    from supervisord_ng.reports import logfollow

    files = {name: log["file"] for name, log in logs.items()}
    written = logfollow.follow(files, lines) if follow else logfollow.last(files, lines)
    for name, line in written:
        yield name, text_of(line, is_json=logs[name].get("format") == "json")


def _ask(client: Client, args: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The same through the daemon: its control group may not read its files, nor we those of another node."""
    for item in client.stream("logs", args):
        yield item["name"], item["line"].encode()


def _print(
    out: BinaryIO,
    lines: Iterable[tuple[str, bytes]],
    width: int | None,
    *,
    as_json: bool,
    flush: bool,
) -> None:
    """Print lines; `width` is that of the column of names, None for no such column."""
    for name, line in lines:
        if as_json:
            document = {"name": name, "line": line.decode(errors="replace")}
            out.write(json.dumps(document, ensure_ascii=False).encode() + b"\n")
        elif width is None:
            out.write(line + b"\n")
        else:
            out.write(f"{name:<{width}} | ".encode() + line + b"\n")
        if flush:
            out.flush()
