"""``sng simulate``: what the tree would do, in virtual time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from supervisord_ng.cli.output import json_option, print_json, printable, say
from supervisord_ng.cli.session import Session

if TYPE_CHECKING:
    from supervisord_ng.model.spec import TreeSpec
    from supervisord_ng.sim.whatif import Act, Fault
    from supervisord_ng.sim.whatif_words import Text


@click.command("simulate")
@click.argument("file", metavar="FILE")
@click.option(
    "--kill", "kills", metavar="PATH@TIME", multiple=True, help="Kill it then: --kill web@5s."
)
@click.option(
    "--hang", "hangs", metavar="PATH@TIME", multiple=True, help="Let it hang from then on."
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0, 2**64 - 1), default=0, help="Of back-off jitter."
)
@click.option("--for", "duration", metavar="TIME", help="How long to look; else until it is over.")
@json_option
@click.pass_obj
def verb(
    session: Session,
    file: str,
    *,
    kills: tuple[str, ...],
    hangs: tuple[str, ...],
    seed: int,
    duration: str | None,
    as_json: bool,
) -> None:
    """Show what the tree in FILE would do when workers crash or hang. Starts nothing.

    The supervisors are the real ones, workers and time are not: what takes hours is shown at once.
    With --kill and --hang, as often as you like, it is a timeline of what happens. Without them
    each worker in turn crashes as fast as it is restarted, and you learn what that takes down.

    TIME is counted from the start of the tree: 250ms, 5s, 1m30s. PATH may be all, a supervisor (all
    workers below it), or a name with several instances.
    """
    from supervisord_ng import config
    from supervisord_ng.sim.whatif import Act

    loaded = config.load(file, runtime_dir=session.runtime_dir, state_dir=session.state_dir)
    for warning in loaded.warnings:
        click.echo(f"{warning.file}:{warning.line or ''}: warning: {warning.message}", err=True)
    for_ns = None if duration is None else _time(duration, f"--for {duration}", "")
    if not kills and not hangs:
        _loops(loaded.tree, file, for_ns, as_json=as_json)
        return
    faults = [*_faults(loaded.tree, file, Act.KILL, kills)]
    faults += _faults(loaded.tree, file, Act.HANG, hangs)
    _story(loaded.tree, file, faults, seed, for_ns, as_json=as_json)


def _loops(tree: TreeSpec, file: str, for_ns: int | None, *, as_json: bool) -> None:
    """Each worker in a crash loop."""
    from msgspec import to_builtins

    from supervisord_ng.sim import whatif, whatif_loops
    from supervisord_ng.sim.whatif_loops_text import findings_lines

    assumed = (*whatif.ASSUMED, *whatif_loops.ASSUMED)
    findings = whatif_loops.explore(tree.root, tree.node.name, for_ns)
    if as_json:
        print_json(_document(tree, file, assumed) | to_builtins(findings))
        return
    _introduce(file, assumed)
    say("If one worker crashes again and again, most surprising first:", "title")
    say("")
    _print(findings_lines(findings, tree.root))
    say(f"For a timeline of a single crash: sng simulate {file} --kill NAME@5s", "dim")


def _story(
    tree: TreeSpec,
    file: str,
    faults: list[tuple[int, Fault]],
    seed: int,
    for_ns: int | None,
    *,
    as_json: bool,
) -> None:
    """One timeline."""
    from msgspec import to_builtins

    from supervisord_ng.sim import whatif
    from supervisord_ng.sim.whatif_text import story_lines

    story = whatif.play(tree.root, tree.node.name, faults, seed=seed, for_ns=for_ns)
    if as_json:
        told = to_builtins(story)
        told["events"] = told.pop("lines")
        print_json(_document(tree, file, whatif.ASSUMED) | told)
        return
    _introduce(file, whatif.ASSUMED)
    _print(story_lines(story, tree.root))


def _faults(
    tree: TreeSpec, file: str, act: Act, wanted: tuple[str, ...]
) -> Iterable[tuple[int, Fault]]:
    """What PATH@TIME asks for, for each worker that PATH names."""
    from supervisord_ng.model import targets
    from supervisord_ng.sim.whatif import Fault, rows

    for text in wanted:
        path, found, time = text.rpartition("@")
        option = f"--{act.value} {text}"
        if not found:
            raise click.UsageError(f"cannot use {option}: it has no time; try {text}@5s")
        at_ns = _time(time, option, text)
        for row in targets.workers(rows(tree.root), (path,), see=f"sng check {file}"):
            yield at_ns, Fault(act, row.path)


def _time(text: str, option: str, path: str) -> int:
    from supervisord_ng.config.explain import RefusedError
    from supervisord_ng.config.units import parse_duration

    try:
        return parse_duration(text)
    except RefusedError as refused:
        hint = f"; after {path} comes a time: {path}@5s" if path else ""
        problem = f"cannot use {option}: {text!r} is no time such as 250ms, 5s, 1m30s{hint}"
        raise click.UsageError(problem) from refused


def _document(tree: TreeSpec, file: str, assumed: tuple[str, ...]) -> dict[str, Any]:
    return {"file": file, "node": tree.node.name, "assumed": assumed}


def _introduce(file: str, assumed: tuple[str, ...]) -> None:
    from supervisord_ng.sim.whatif_text import assumed_lines

    say(f"{printable(file)}, simulated: nothing is started, all times are virtual. Assumed:", "dim")
    _print(assumed_lines(assumed))


def _print(lines: Iterable[Text]) -> None:
    for line in lines:
        say(line.text, line.style)
