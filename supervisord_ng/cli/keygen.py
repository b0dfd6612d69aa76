"""``sng keygen``: the key by which another node knows this one."""

from __future__ import annotations

import os

import click

from supervisord_ng.cli.output import json_option, print_json, say
from supervisord_ng.cli.session import Session
from supervisord_ng.model.paths import KEY_FILE
from supervisord_ng.wire import keys


@click.command("keygen")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--show", is_flag=True, help="Print the public key of an existing FILE.")
@json_option
@click.pass_obj
def verb(session: Session, file: str | None, *, show: bool, as_json: bool) -> None:
    """Make a node's secret key in FILE and print its public key.

    FILE is the node's secret_key_file, by default node.key in the state directory. It is never
    overwritten. The public key goes into the configuration of the other node: [parent] of the
    node below, [remote.NAME] of the node above.
    """
    path = file or _default(session)
    if show:
        pair = keys.read(path)
    else:
        if file is None:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        pair = keys.create(path)
    if as_json:
        print_json({"file": os.path.abspath(path), "public_key": pair.public})
    else:
        say(pair.public)


def _default(session: Session) -> str:
    state_dir = session.state_dir or session.default_state_dir()
    if state_dir is None:
        raise click.UsageError("cannot tell where the key belongs: name FILE, or use --state-dir")
    return os.path.join(state_dir, KEY_FILE)
