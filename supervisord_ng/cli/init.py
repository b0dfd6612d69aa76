"""``sng init``: a tree to start from."""

from __future__ import annotations

import click

from supervisord_ng.cli.output import json_option, print_json, say
from supervisord_ng.errors import SupervisordNGError

TEMPLATE = """\
# A tree for supervisord-ng. Check it with "sng check tree.toml", run it with "sng run tree.toml".
# Durations: "250ms", "5s", "10m". Sizes: "64K", "512M". A key that does not exist is an error.

[supervisor.root]                 # the top of the tree; without this table: all workers in file order
strategy = "one_for_one"          # a crash restarts: one_for_one that child, one_for_all all of them,
                                  # rest_for_one that child and those listed after it
intensity = 5                     # more than this many restarts ...
period = "10s"                    # ... within this time: give up, and let the one above decide
children = ["web", "pool"]        # the order in which they are started; stopped in reverse

[supervisor.pool]                 # a supervisor below: it gives up without taking "web" with it
strategy = "one_for_all"
children = ["tick", "tock"]

[worker.web]
command = ["python3", "-m", "http.server", "8000", "--bind", "127.0.0.1"]
ready = "exec"                    # when the next one may start; "notify": when this one says READY=1
shutdown = "5s"                   # asked with stop_signal (TERM), killed after this time

[worker.tick]
command = ["sh", "-c", "while sleep 1; do echo tick; done"]
restart = "permanent"             # always; "transient": only after a crash; "temporary": never
backoff = { initial = "100ms", max = "30s" }  # without it a restart is immediate

[worker.tock]
command = ["sh", "-c", "while sleep 2; do echo tock; done"]
environment = { LANG = "C.UTF-8" }
log = { max_bytes = "10M", backups = 3 }
# user = "app"                    # run as somebody else; needs a daemon that runs as root
# heartbeat = { interval = "1s", timeout = "5s" }  # for workers that use the SDK or sd_notify
"""


@click.command("init")
@click.argument("file", metavar="[FILE]", default="tree.toml")
@json_option
def verb(file: str, *, as_json: bool) -> None:
    """Write a commented tree.toml to start from, never over a file that exists."""
    try:
        with open(file, "x", encoding="utf-8") as tree:
            tree.write(TEMPLATE)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SupervisordNGError(f"cannot write {file}: {why}") from error
    if as_json:
        print_json({"file": file})
    else:
        say(f"wrote {file}; check it with 'sng check {file}', run it with 'sng run {file}'")
