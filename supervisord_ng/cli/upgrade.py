"""``sng upgrade``."""

from __future__ import annotations

import time
from typing import Any

import click

from supervisord_ng.cli.output import json_option, print_json, say
from supervisord_ng.cli.session import Session
from supervisord_ng.control.client import Client
from supervisord_ng.errors import ControlError, NoDaemonError
from supervisord_ng.limits import UPGRADE_CHECK_S, UPGRADE_WAIT_S

_PAUSE_S = 0.05  # between two looks whether the new version answers


@click.command("upgrade")
@json_option
@click.pass_obj
def verb(session: Session, *, as_json: bool) -> None:
    """Let the daemon replace itself by the version that is installed now; workers run on.

    First the new version is asked whether it can take over with the configuration as it is; if not, nothing
    happens. Then the daemon becomes it, with the same pid. Returns when the new version answers.
    """
    with session.client() as client:
        answer = client.request("upgrade", {}, timeout_s=UPGRADE_CHECK_S)
        if session.node is None:
            client.wait_cut_off(UPGRADE_WAIT_S)
    found = _wait(session) if session.node is None else answer
    if as_json:
        print_json(found)
    else:
        say(f"upgraded to version {found['version']}" if "pid" in found else "upgrading")


def _wait(session: Session) -> dict[str, Any]:
    deadline = time.monotonic() + UPGRADE_WAIT_S
    while True:
        try:
            with session.client() as client:
                return _version(client)
        except NoDaemonError as error:
            if time.monotonic() > deadline:
                text = f"cannot tell what became of the upgrade: {error}"
                raise ControlError("failed", text, "see the daemon's log") from error
        time.sleep(_PAUSE_S)


def _version(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.request("version", {})
    return found
