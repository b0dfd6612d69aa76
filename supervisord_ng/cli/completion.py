"""``sng completion``: what a shell needs to complete verbs, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_SNG_COMPLETE"  # click's own way: the shell calls sng with this set


@click.command("completion")
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def verb(ctx: click.Context, shell: str) -> None:
    """Print the completion for a SHELL: bash, zsh or fish.

    For this session: eval "$(sng completion bash)". For all: into the directory where the shell
    looks, as ~/.local/share/bash-completion/completions/sng.
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell
    made = kind(ctx.find_root().command, {}, "sng", VARIABLE)
    # Not `source()`, which runs bash to see how old it is.
    click.echo((made.source_template % made.source_vars()).strip())
