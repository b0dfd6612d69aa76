"""``sng check``: says what is wrong with a configuration, or what tree it means."""

from __future__ import annotations

import os
from typing import Any

import click

from supervisord_ng import config
from supervisord_ng.cli.output import complain, json_option, print_json, print_table, say
from supervisord_ng.cli.session import Session
from supervisord_ng.errors import EXIT_CONFIG, ConfigError, Problem
from supervisord_ng.limits import SECOND
from supervisord_ng.model.defaults import SYSTEM_RUNTIME_DIR, default_runtime_dir
from supervisord_ng.model.names import ROOT, join
from supervisord_ng.model.spec import ChildSpec, Ready, RemoteSpec, SupervisorSpec

HEADING = ("NAME", "RESTART", "READY", "")


@click.command("check")
@click.argument("file", metavar="FILE")
@click.option("--strict", is_flag=True, help="Warnings are errors.")
@json_option
@click.pass_obj
@click.pass_context
def verb(ctx: click.Context, session: Session, file: str, *, strict: bool, as_json: bool) -> None:
    """Validate FILE and show the tree it describes.

    Starts nothing and needs no daemon. Prints every problem at once, each with its line; exit
    status 78 when there is one.
    """
    try:
        loaded = config.load(file, runtime_dir=_runtime_dir(session), state_dir=session.state_dir)
    except ConfigError as error:
        if as_json:
            print_json(_document(error.problems, (), None))
        for problem in error.problems:
            click.echo(str(problem), err=True)
        complain(f"cannot use {file}: {_count(len(error.problems), 'problem')}")
        ctx.exit(EXIT_CONFIG)
    refused = strict and bool(loaded.warnings)
    if as_json:
        print_json(_document((), loaded.warnings, loaded.tree.root))
    else:
        say(f"node {loaded.tree.node.name}", "title")
        print_table([HEADING, *_rows(loaded.tree.root, 0)])
    for warning in loaded.warnings:
        click.echo(f"{warning.file}{_line(warning)}: warning: {warning.message}", err=True)
    if refused:
        complain(f"cannot use {file}: {_count(len(loaded.warnings), 'warning')}, and --strict")
        ctx.exit(EXIT_CONFIG)


def _runtime_dir(session: Session) -> str | None:
    """A runtime directory for a tree that is only looked at, where this user has no default."""
    if session.runtime_dir or default_runtime_dir(os.environ, is_root=os.geteuid() == 0):
        return session.runtime_dir
    return SYSTEM_RUNTIME_DIR


def _rows(spec: ChildSpec, depth: int) -> list[tuple[str, ...]]:
    """The row of one child and those of everything below it."""
    name = "  " * depth + spec.name
    if isinstance(spec, SupervisorSpec):
        limit = "any number of" if spec.intensity is None else str(spec.intensity)
        what = f"{spec.strategy}, at most {limit} restarts in {spec.period_ns / SECOND:g}s"
        rows: list[tuple[str, ...]] = [(name, spec.restart.value, "", what)]
        for child in spec.children:
            rows += _rows(child, depth + 1)
        return rows
    if isinstance(spec, RemoteSpec):
        return [(name, spec.restart.value, "", "a node below this one")]
    command = " ".join(spec.launch.command)
    if not spec.autostart:
        command += " (not started by itself: autostart = false)"
    return [(name, spec.restart.value, _ready(spec.ready), command)]


def _ready(ready: Ready) -> str:
    if ready.target is None:
        return ready.kind
    target = " ".join(ready.target) if isinstance(ready.target, tuple) else str(ready.target)
    return f"{ready.kind} {target}"


def _document(
    problems: tuple[Problem, ...], warnings: tuple[Problem, ...], root: SupervisorSpec | None
) -> dict[str, Any]:
    return {
        "ok": root is not None,
        "problems": [_plain(problem) for problem in problems],
        "warnings": [_plain(warning) for warning in warnings],
        "tree": None if root is None else _tree(root, ROOT),
    }


def _tree(spec: ChildSpec, path: str) -> dict[str, Any]:
    """One child and what is below it, with the keys that the table shows."""
    document: dict[str, Any] = {"path": path, "name": spec.name, "restart": spec.restart.value}
    if isinstance(spec, SupervisorSpec):
        return document | {
            "kind": "supervisor",
            "strategy": spec.strategy.value,
            "intensity": spec.intensity,
            "period_s": spec.period_ns / SECOND,
            "children": [_tree(child, join(path, child.name)) for child in spec.children],
        }
    if isinstance(spec, RemoteSpec):
        return document | {"kind": "remote"}
    return document | {
        "kind": "worker",
        "command": list(spec.launch.command),
        "ready": spec.ready.kind,
        "autostart": spec.autostart,
    }


def _plain(problem: Problem) -> dict[str, Any]:
    return {"file": problem.file, "line": problem.line, "message": problem.message}


def _line(problem: Problem) -> str:
    return "" if problem.line is None else f":{problem.line}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
