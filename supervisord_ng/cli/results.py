"""What start, stop, restart and signal have in common: an order for some children, a result for each."""

from __future__ import annotations

from typing import Any

import click

from supervisord_ng.cli.output import complain, json_option, print_json, say
from supervisord_ng.cli.session import Session
from supervisord_ng.errors import EXIT_FAILED

__all__ = ["json_option", "no_wait_option", "order"]

no_wait_option = click.option(
    "--no-wait", is_flag=True, help="Return when it is begun, not when it is done."
)


def order(session: Session, verb: str, args: dict[str, Any], *, as_json: bool) -> None:
    """Have the daemon do something to children and print what became of each.

    Waits as long as the daemon lives and works on it: how long that may be stands in the
    configuration (`ready_timeout`, `shutdown`). Exits with 1 when it failed for one of them.
    """
    with session.client() as client:
        answer = client.request(verb, args, timeout_s=None)
    results = answer["results"]
    if as_json:
        print_json(answer)
    for result in results:
        if not result["ok"]:
            complain(result["message"] or f"cannot {verb} {result['path']}: {result['code']}")
        elif not as_json:
            say(f"{result['path']}: {_done(result)}")
    if not all(result["ok"] for result in results):
        click.get_current_context().exit(EXIT_FAILED)


def _done(result: dict[str, Any]) -> str:
    text = str(result["message"] or result["code"])
    return text if result["pid"] is None else f"{text}, pid {result['pid']}"
