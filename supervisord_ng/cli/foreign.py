"""``sng import``: a tree out of another process manager's configuration."""

from __future__ import annotations

import click

from supervisord_ng.cli.output import complain, json_option, print_json
from supervisord_ng.errors import SupervisordNGError
from supervisord_ng.limits import CONFIG_BYTES_MAX


@click.command("import")
@click.argument("file", metavar="FILE")
@json_option
def verb(file: str, *, as_json: bool) -> None:
    """Print a tree.toml made of a supervisord.conf, a circus.ini or a Procfile.

    Every line that could not be carried over is named on standard error and in a comment at the top,
    with the reason. The result is a beginning: read it, and check it with sng check.
    """
    from supervisord_ng.config.foreign import convert

    try:
        with open(file, encoding="utf-8") as source:
            text = source.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise SupervisordNGError(f"cannot read {file}: {(error.strerror or '').lower()}") from error
    except UnicodeDecodeError as error:
        raise SupervisordNGError(f"cannot read {file}: it is not UTF-8") from error
    if len(text) > CONFIG_BYTES_MAX:
        raise SupervisordNGError(f"cannot read {file}: longer than {CONFIG_BYTES_MAX} bytes")
    draft = convert(file, text)
    problems = sorted(draft.problems)
    if as_json:
        said = [{"line": line, "what": what, "why": why} for line, what, why in problems]
        print_json({"toml": draft.toml(), "problems": said})
        return
    click.echo(draft.toml(), nl=False)
    for problem in problems:
        complain(f"{file}: not carried over: {problem}")
