"""What a configuration changes, in words: what ``diff`` and ``reload`` and ``scale`` print."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click

from supervisord_ng.cli.output import complain, print_json, say
from supervisord_ng.errors import EXIT_FAILED

_WORDS = {
    "add": ("+", "added", "good"),
    "remove": ("-", "removed", "bad"),
    "restart": ("!", "restarted", "busy"),
    "start": ("+", "started", "good"),
    "change": ("~", "changed in place", "plain"),
}
# For what is not done yet, and for what is.
_WILL = {
    "add": "is added and started",
    "remove": "is stopped and removed",
    "restart": "is stopped and started",
    "start": "is started",
    "change": "changes in place",
}


def show(comparison: dict[str, Any]) -> None:
    """Print every change, each with its reason, then what is refused and what comes later."""
    for warning in comparison["warnings"]:
        complain(f"warning: {warning}")
    for change in comparison["changes"]:
        sign, _, style = _WORDS[change["act"]]
        say(f"{sign} {change['path']}: {_sentence(change)}", style)
        for key in change["keys"]:
            say(f"    {key['key']}: {key['old']} -> {key['new']}")
        if change["reordered"]:
            say("    the order of its children, from the next start on")
    for one in comparison["scaled"]:
        say(
            f"= {one['name']}: {one['running']} instances by scale, not {one['file']} as in the file"
        )
    for key in comparison["later"]:
        what = f"{key['key']}: {key['old']} -> {key['new']}"
        say(f"  {what}, from the next start of the daemon on")


def show_refusals(comparison: dict[str, Any]) -> None:
    """Say on standard error what cannot be had."""
    for one in comparison["refused"]:
        complain(f"{one['path']}: {one['why']}")


def show_failures(comparison: dict[str, Any]) -> None:
    """Say on standard error what could not be started."""
    for one in comparison["failed"]:
        complain(one["message"])


def conclude(ctx: click.Context, done: dict[str, Any], *, as_json: bool) -> None:
    """Print what was changed, and exit 1 when something could not be started."""
    if as_json:
        print_json(done)
    else:
        show(done)
        show_failures(done)
        say(counted(done))
    if done["failed"]:
        ctx.exit(EXIT_FAILED)


def counted(comparison: dict[str, Any]) -> str:
    """All of it in one line: "1 added, 2 restarted"."""
    acts = [change["act"] for change in comparison["changes"]]
    counts = [f"{acts.count(act)} {words[1]}" for act, words in _WORDS.items() if act in acts]
    return ", ".join(counts) or "nothing changes"


def absolute(file: str | None) -> str | None:
    """The path as the daemon has to be told it, which has another working directory."""
    return None if file is None else os.path.abspath(file)


def _sentence(change: dict[str, Any]) -> str:
    return "".join(_parts(change))


def _parts(change: dict[str, Any]) -> Iterator[str]:
    yield change["kind"] + " " if change["kind"] != "worker" else ""
    yield _WILL[change["act"]]
    if change["pid"] is not None and change["act"] != "change":
        yield f" (pid {change['pid']})"
    if change["because"]:
        yield f", together with {', '.join(change['because'])}"
