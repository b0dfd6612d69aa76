"""``sng status``: the tree as it is now. The verb that is called most, so it imports next to nothing."""

from __future__ import annotations

from typing import Any

import click

from supervisord_ng.cli.output import (
    Cell,
    complain,
    json_option,
    print_json,
    printable,
    styled,
    table,
    uptime,
    wants_colour,
)
from supervisord_ng.cli.paths import paths_argument
from supervisord_ng.cli.session import Session
from supervisord_ng.errors import (
    EXIT_FAILED,
    EXIT_NO_DAEMON,
    EXIT_NOT_RUNNING,
    EXIT_UNKNOWN,
    ControlError,
    NoDaemonError,
)

HEADING = ("NAME", "STATE", "PID", "UPTIME", "RESTARTS", "LAST EXIT", "")
STATE_STYLES = {
    "running": "good",
    "stopped": "dim",
    "exited": "dim",
    "failed": "bad",
    "lost": "bad",
}  # every other state is on its way to another one: busy


@click.command("status")
@paths_argument(required=False)
@click.option("--all", "everywhere", is_flag=True, help="Every node below too.")
@click.option("-w", "--watch", "live", is_flag=True, help="Go on showing it, until Ctrl-C.")
@json_option
@click.pass_obj
@click.pass_context
def verb(
    ctx: click.Context,
    session: Session,
    paths: tuple[str, ...],
    *,
    everywhere: bool,
    live: bool,
    as_json: bool,
) -> None:
    """Show the tree: state, pid, uptime, restarts, last exit.

    With --all also every node below, each with its link. With -w once a second, over the whole
    terminal; into a pipe one after the other, with --json one object a line.

    Exit status 0 when everything is as the configuration wants it (running, ended normally, or not
    started because of autostart = false), 3 when something is not, 4 for an unknown name or when no
    daemon runs. With -w 0 after Ctrl-C.
    """
    args = {"paths": list(paths), "all": True} if everywhere else {"paths": list(paths)}

    def fetch() -> dict[str, Any]:
        with session.client() as client:
            return dict(client.request("status", args))

    try:
        status = fetch()
    except NoDaemonError as error:
        complain(error)
        ctx.exit(EXIT_UNKNOWN)
    except ControlError as error:
        complain(error)
        ctx.exit(_REFUSED.get(error.code, EXIT_FAILED))
    if live:
        from supervisord_ng.cli.live import show_live

        show_live(fetch, None if as_json else lambda status: _lines(status, whole=not paths))
        return
    if as_json:
        print_json(status)
    else:
        click.echo("\n".join(_lines(status, whole=not paths)), color=wants_colour())
    nodes = status.get("nodes", ())
    rows = [row for node in (status, *nodes) for row in node["children"]]
    dark = any(node["link"]["state"] != "up" for node in nodes)
    if dark or not all(is_as_wanted(row) for row in rows):
        ctx.exit(EXIT_NOT_RUNNING)


_REFUSED = {
    "not_found": EXIT_UNKNOWN,
    "denied": EXIT_UNKNOWN,
    "no_link": EXIT_NO_DAEMON,
}


def is_as_wanted(row: dict[str, Any]) -> bool:
    """Say whether a child is what the configuration wants it to be by now."""
    state = row["state"]
    if state == "exited":
        return bool(row.get("last_exit_ok"))
    if state == "stopped":
        return not row.get("autostart", True)
    return bool(state == "running")


def _lines(status: dict[str, Any], *, whole: bool) -> list[str]:
    """What people see, line by line; the node itself only when it is shown as a whole."""
    lines = _node_lines(status) if whole else []
    lines += _tree_lines(status)
    for node in status.get("nodes", ()):
        lines += _below_lines(node)
    return lines


def _tree_lines(status: dict[str, Any]) -> list[str]:
    return table([HEADING, *(_cells(row) for row in status["children"])])


def _below_lines(node: dict[str, Any]) -> list[str]:
    """A node below: its link, and when that is up its tree."""
    link = node["link"]
    below = f"below {printable(node['parent_node'])}: link {link['state']}"
    if link["state"] != "up":
        said = f"node {printable(node['node'])}, {below}{_since(link['since'])}"
        return ["", styled(said, "bad", colour=wants_colour())]
    return ["", *_node_lines(node, f"{below}, {link['rtt_ms']:.1f} ms"), *_tree_lines(node)]


def _since(time_s: float | None) -> str:
    import time

    if time_s is None:
        return ", since the daemon above it was started"
    return f", since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(time_s))}"


def _node_lines(status: dict[str, Any], below: str | None = None) -> list[str]:
    title = (
        f"node {printable(status['node'])}: {status['state']}, pid {status['pid']},"
        f" up {uptime(status['uptime_s'])}, version {status['version']}"
    )
    lines = [styled(title, "title", colour=wants_colour())]
    if below is not None:
        lines.append(below)
    reports = status["reports"]
    lines.append(
        f"crash reports: {reports['stored']} stored, {reports['waiting']} waiting,"
        f" {reports['dropped']} dropped"
    )
    rejected = [f"{count} {wire}" for wire, count in status["rejected"].items() if count]
    if rejected:
        lines.append(f"rejected messages: {', '.join(rejected)}")
    if (parent := status["parent"]) is not None:
        lines.append(f"parent node {printable(parent['node'])}: link {parent['link']}")
    return [*lines, ""]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    depth = row["path"].count("/")
    return (
        "  " * depth + row["name"],
        Cell(row["state"], STATE_STYLES.get(row["state"], "busy")),
        "-" if row["pid"] is None else str(row["pid"]),
        uptime(row["uptime_s"]),
        str(row["restarts"]),
        "-" if row["last_exit"] is None else printable(row["last_exit"]),
        ", ".join(_details(row)),
    )


def _details(row: dict[str, Any]) -> list[str]:
    """What only some rows have to say."""
    said = []
    if row["strategy"] is not None:
        limit = "" if row["intensity"] is None else f"/{row['intensity']}"
        said.append(row["strategy"])
        said.append(f"restarts {row['restarts_in_window'] or 0}{limit} in {row['period_s']:g}s")
    if row.get("backoff_s") is not None:
        said.append(f"restarts in {row['backoff_s']:.1f}s")
    if row["state"] == "stopped" and not row.get("autostart", True):
        said.append("autostart = false")
    if row["state"] == "waiting":
        said.append("an earlier one is not ready yet")
    if row["state"] == "starting" and row["kind"] == "worker":
        said.append("not ready yet")
    if row["beat_age_s"] is not None:
        said.append(f"beat {row['beat_age_s']:.1f}s ago")
    if row["log_dropped_bytes"]:
        said.append(f"{row['log_dropped_bytes']} bytes of output lost")
    if row["status_text"]:
        said.append(printable(row["status_text"]))
    return said
