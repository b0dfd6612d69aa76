"""``sng crashes``: the crash reports, from the daemon, or from the store on disk while no daemon runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import click

from supervisord_ng.cli.output import complain, json_option, print_json, say
from supervisord_ng.cli.paths import paths_argument
from supervisord_ng.cli.session import Session
from supervisord_ng.errors import ControlError, NoDaemonError
from supervisord_ng.limits import CRASHES_SHOWN_DEFAULT
from supervisord_ng.model.paths import STORE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisord_ng.control.client import Client
    from supervisord_ng.model.reports import CrashReport
    from supervisord_ng.reports.reader import Reader
    from supervisord_ng.reports.render import Line
    from supervisord_ng.reports.stats import Stats


class Source(Protocol):
    """Where reports come from.

    Attributes:
        node: whose they are when they do not say otherwise.
    """

    node: str

    def newest(self, limit: int | None, paths: tuple[str, ...]) -> list[CrashReport]:
        """At most `limit` reports (None: all) about these paths (none: about everything)."""
        ...

    def get(self, report_id: str) -> CrashReport:
        """One report."""
        ...

    def stats(self) -> Stats:
        """Counts by fingerprint."""
        ...


class Verbs(click.Group):
    """``crashes`` with its three sub-verbs; without one of them it is ``crashes list``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``list`` in front of arguments that name no sub-verb."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.command("crashes", cls=Verbs)
def verb() -> None:
    """Show crash reports: what crashed, why, and what was decided.

    Without a sub-verb it is the list. Needs no daemon: `sng --state-dir DIR crashes` reads the
    store on disk, and without a daemon the usual state directory is looked at.
    """


@verb.command("list")
@paths_argument(required=False)
@click.option("-n", "--limit", metavar="N", type=click.IntRange(min=1), help="At most so many.")
@json_option
@click.pass_obj
def list_reports(
    session: Session, paths: tuple[str, ...], *, limit: int | None, as_json: bool
) -> None:
    """List crash reports, newest first.

    The latest 20 unless -n says otherwise; with --json all that are kept, whole.
    """
    from supervisord_ng.reports.render import list_lines

    if limit is None and not as_json:
        limit = CRASHES_SHOWN_DEFAULT
    source = _source(session)
    reports = source.newest(limit, paths)
    if as_json:
        print_json(_plain(reports))
    else:
        _print(list_lines(reports, source.node))


@verb.command("show")
@click.argument("report_id", metavar="[ID]", required=False)
@json_option
@click.pass_obj
def show(session: Session, report_id: str | None, *, as_json: bool) -> None:
    """Show one crash report whole: traceback, last lines of the log, what was decided.

    ID is what the list shows, or the whole id. Without it the newest one is shown.
    """
    from supervisord_ng.reports.render import report_lines

    source = _source(session)
    if report_id is not None:
        report = source.get(report_id)
    else:
        newest = source.newest(1, ())
        if not newest:
            raise ControlError("not_found", "cannot show the newest crash report: there is none")
        report = newest[0]
    if as_json:
        print_json(_plain(report))
    else:
        _print(report_lines(report))


@verb.command("stats")
@json_option
@click.pass_obj
def stats(session: Session, *, as_json: bool) -> None:
    """Count crash reports: the same failure at the same place is one line."""
    from supervisord_ng.reports.render import stats_lines

    counted = _source(session).stats()
    if as_json:
        print_json(_plain(counted))
    else:
        _print(stats_lines(counted))


class FromDaemon:
    """Reports as the daemon tells them."""

    def __init__(self, client: Client, node: str) -> None:
        self.node = node
        self._client = client

    def newest(self, limit: int | None, paths: tuple[str, ...]) -> list[CrashReport]:
        """See `Source`."""
        import msgspec

        from supervisord_ng.model.reports import CrashReport

        answer = self._client.request("crashes.list", {"limit": limit, "paths": list(paths)})
        return msgspec.convert(answer["reports"], list[CrashReport])

    def get(self, report_id: str) -> CrashReport:
        """See `Source`."""
        import msgspec

        from supervisord_ng.model.reports import CrashReport

        return msgspec.convert(self._client.request("crashes.show", {"id": report_id}), CrashReport)

    def stats(self) -> Stats:
        """See `Source`."""
        import msgspec

        from supervisord_ng.reports.stats import Stats

        return msgspec.convert(self._client.request("crashes.stats", {}), Stats)


class FromStore:
    """Reports from the store on disk. Names are paths here: without a daemon nobody knows the tree."""

    def __init__(self, reader: Reader) -> None:
        self.node = ""  # nobody says whose store it is, so every report names its node
        self._reader = reader

    def newest(self, limit: int | None, paths: tuple[str, ...]) -> list[CrashReport]:
        """See `Source`."""
        found = {
            report.id: report
            for path in paths or (None,)
            for report in self._reader.newest(limit, path)
        }
        return sorted(found.values(), key=lambda report: report.id, reverse=True)[:limit]

    def get(self, report_id: str) -> CrashReport:
        """See `Source`."""
        return self._reader.get(report_id)

    def stats(self) -> Stats:
        """See `Source`."""
        return self._reader.stats()


def _source(session: Session) -> Source:
    """The store when it is named; else the daemon; else the store where it usually lies."""
    if session.state_dir is not None:
        return _store(session.state_dir)
    client = None
    try:
        client = session.client()
        node = client.request("version", {})["node"]
    except NoDaemonError as error:
        if session.node is not None:
            raise
        usual = session.default_state_dir()
        if usual is None or not os.path.exists(f"{usual}/{STORE}"):
            raise
        complain(f"{error}; reading {usual}/{STORE}")
        return _store(usual)
    click.get_current_context().call_on_close(client.close)
    return FromDaemon(client, node)


def _store(state_dir: str) -> FromStore:
    from supervisord_ng.reports.reader import Reader

    return FromStore(Reader(f"{state_dir}/{STORE}"))


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def _print(lines: Iterable[Line]) -> None:
    for line in lines:
        say(line.text, line.style)
