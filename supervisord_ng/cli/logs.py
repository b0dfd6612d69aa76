"""``sng logs``, also ``tail``. The log files are read here, not by the daemon: it has better things to do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import click

from supervisord_ng.cli.output import complain, json_option
from supervisord_ng.cli.session import Session
from supervisord_ng.errors import SupervisordNGError
from supervisord_ng.limits import LOGS_SHOWN_DEFAULT


@click.command("logs")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
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
    with session.client() as client:
        logs = client.request("logs.files", {"paths": list(paths)})["logs"]
    files: dict[str, str] = {}
    for log in logs:
        if log["file"] is None:
            complain(f"cannot show the log of {log['path']}: its output is not captured")
        else:
            files[log["name"]] = log["file"]
    out = sys.stdout.buffer
    width = max(len(name) for name in files) if len(files) > 1 and not as_json else None
    try:
        _print(out, _read(files, lines, follow=follow), width, as_json=as_json, flush=follow)
    except PermissionError as error:
        raise SupervisordNGError(
            f"cannot read {error.filename}: permission denied"
            " (logs are for root and the daemon's own user)"
        ) from error
    out.flush()


def _read(files: dict[str, str], lines: int, *, follow: bool) -> Iterator[tuple[str, bytes]]:
    """The last lines of every log, and then, when following, what is written."""
    from supervisord_ng.reports.logfollow import follow as follow_logs
    from supervisord_ng.reports.logtail import LogReader

    if follow:
        yield from follow_logs(files, lines)
        return
    for name, file in files.items():
        with LogReader(file) as reader:
            reader.seek_last(lines)
            for line in reader.lines():
                yield name, line
            for line in reader.unfinished():
                yield name, line


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
