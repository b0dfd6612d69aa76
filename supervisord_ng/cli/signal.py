"""``sng signal``."""

from __future__ import annotations

import signal

import click

from supervisord_ng.cli.paths import paths_argument
from supervisord_ng.cli.results import json_option, order
from supervisord_ng.cli.session import Session


def signal_number(_: click.Context, __: click.Parameter, value: str) -> int:
    """The number of a signal as kill(1) takes it: TERM, SIGTERM or 15."""
    text = value.upper()
    try:
        if text.isascii() and text.isdigit():
            return int(signal.Signals(int(text)))
        return int(signal.Signals[text if text.startswith("SIG") else f"SIG{text}"])
    except (KeyError, ValueError) as error:
        raise click.BadParameter(f"{value!r} is no signal; see: kill -l") from error


@click.command("signal")
@click.argument("number", metavar="SIG", callback=signal_number)
@paths_argument()
@click.option("--main", "main_only", is_flag=True, help="Only to the main process of each.")
@json_option
@click.pass_obj
def verb(
    session: Session, number: int, paths: tuple[str, ...], *, main_only: bool, as_json: bool
) -> None:
    """Send a signal to every process of workers.

    SIG is a name or a number: HUP, SIGUSR1, 10. A worker that dies of it has crashed, unless its
    clean_signals say otherwise: use stop to stop it.
    """
    args = {"signal": number, "paths": list(paths), "main": main_only}
    order(session, "signal", args, as_json=as_json)
