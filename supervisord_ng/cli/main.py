"""The entrance of ``sng``: global options, the table of verbs, and what an error is to a shell."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from supervisord_ng.cli.output import complain
from supervisord_ng.cli.session import Session
from supervisord_ng.errors import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_NO_DAEMON,
    EXIT_UNKNOWN,
    ConfigError,
    ControlError,
    NoDaemonError,
    SupervisordNGError,
)

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell says it

# Each verb lives in the module of its name, as the command `verb`. In the order in which one needs
# them.
VERBS = {
    "init": "init",
    "check": "check",
    "simulate": "simulate",
    "run": "run",
    "status": "status",
    "top": "top",
    "start": "start",
    "stop": "stop",
    "restart": "restart",
    "signal": "signal",
    "scale": "scale",
    "start-child": "start_child",
    "delete": "delete",
    "diff": "diff",
    "reload": "reload",
    "logs": "logs",
    "events": "events",
    "crashes": "crashes",
    "shutdown": "shutdown",
    "upgrade": "upgrade",
    "keygen": "keygen",
    "service": "service",
    "import": "foreign",
    "completion": "completion",
    "version": "version",
}
ALIASES = {"tail": "logs"}
WITHOUT_DAEMON = frozenset(
    {"init", "check", "simulate", "run", "keygen", "service", "completion", "import"}
)


class Verbs(click.Group):
    """A group that imports a verb only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of one verb."""
        module = VERBS.get(ALIASES.get(cmd_name, cmd_name))
        if module is None:
            return None
        command = importlib.import_module(f"supervisord_ng.cli.{module}").verb
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb and turn what it raises into a line on standard error and an exit status."""
        try:
            return super().invoke(ctx)
        except SupervisordNGError as error:
            *problems, sentence = str(error).splitlines()
            for problem in problems:
                click.echo(problem, err=True)
            complain(sentence)
            ctx.exit(exit_status(error))
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)


def exit_status(error: SupervisordNGError) -> int:
    """What an error means to a shell, for every verb but `status`, which has its own words."""
    if isinstance(error, NoDaemonError):
        return EXIT_NO_DAEMON
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    if isinstance(error, ControlError) and error.code == "config":
        return EXIT_CONFIG
    if isinstance(error, ControlError) and error.code in ("denied", "refused"):
        return EXIT_UNKNOWN
    if isinstance(error, ControlError) and error.code == "no_link":
        return EXIT_NO_DAEMON
    return EXIT_FAILED


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--runtime-dir",
    metavar="DIR",
    help="Where the daemon has its socket. Default: $SNG_RUNTIME_DIR, else $RUNTIME_DIRECTORY, else"
    " $XDG_RUNTIME_DIR/supervisord-ng, else /run/supervisord-ng.",
)
@click.option(
    "--state-dir",
    metavar="DIR",
    help="Where the daemon keeps its store, to read crash reports while no daemon runs.",
)
@click.option(
    "--node",
    metavar="NAME",
    help="Another node below this one, by its name, or by the end of a path (mid/leaf) where names"
    " repeat.",
)
@click.pass_context
def cli(
    ctx: click.Context, runtime_dir: str | None, state_dir: str | None, node: str | None
) -> None:
    """Control a supervisord-ng daemon.

    PATH is a name, a path in the tree ("root/pool", "pool/resize@2"), or "all".

    \b
    Exit status: 0 done, 1 failed, 2 wrong usage, 3 status: something is not running,
    4 status: unknown name or no daemon, other verbs: refused, 7 no daemon,
    78 configuration wrong. A node without a link is one without a daemon.
    """  # noqa: D301 - \b is click's mark for a paragraph that is not to be wrapped
    if node is not None and (state_dir is not None or ctx.invoked_subcommand in WITHOUT_DAEMON):
        verb = ctx.invoked_subcommand if state_dir is None else "--state-dir"
        raise click.UsageError(f"cannot use --node with {verb}: that asks no daemon")
    ctx.obj = Session(runtime_dir, state_dir, node, os.environ, is_root=os.geteuid() == 0)


def main() -> None:
    """Run ``sng``."""
    cli(prog_name="sng")


if __name__ == "__main__":
    main()
