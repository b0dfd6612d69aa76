"""A crash report in words for a person, as lines with a style; the CLI turns styles into colours.

Pure but for the time zone, which is the reader's own. Whatever came from a worker is escaped, so
that no report can move the cursor, set a title or hide text on the terminal that shows it.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple

from supervisord_ng import limits
from supervisord_ng.model.reports import Context, CrashReport, Decision
from supervisord_ng.model.words import explain
from supervisord_ng.reports.stats import Stats

Style = Literal["title", "dim", "bad", "good", "plain"]

_QUOTE = "  | "  # in front of what the worker itself wrote
_SHORT_ID_LENGTH = 8  # a UUIDv7 begins with the time; its end is chance, 32 bits tell reports apart

# Controls but for the tab, marks that hide or reorder text (Unicode TR 36), lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400  # seconds, for people

_HAPPENED = {
    Context.CHILD_TERMINATED: "crashed",
    Context.START_ERROR: "could not be started",
    Context.SHUTDOWN_ERROR: "did not stop in order",
}
_MEANING = {
    "heartbeat_timeout": explain("heartbeat_timeout"),
    "liveness": explain("liveness"),
    "oom": "killed, out of memory",
    "noconnection": "no sign of life from its node",
    "reached_max_restart_intensity": "it restarted too often",
    "unknown": "nobody saw how it ended",
    "killed": "it had to be killed",
    "start_failed:timeout": "not ready in time",
}


class Line(NamedTuple):
    """One line of output without its line end."""

    style: Style
    text: str


def report_lines(report: CrashReport) -> list[Line]:
    """Show everything that a report knows."""
    lines = [Line("title", _headline(report)), Line("dim", _where_and_when(report))]
    if report.message is not None:
        lines.append(Line("bad", escape(report.message)))
    lines.append(_decision_line(report))
    lines += [Line("dim", text) for text in _circumstances(report)]
    lines += _section("traceback:", report.traceback, "bad")
    lines += _section("stacks when it hung:", report.stacks, "plain")
    if report.log_tail:
        lines.append(Line("dim", f"last {_count(len(report.log_tail), 'line')} of its log:"))
        lines += [Line("plain", _QUOTE + escape(line)) for line in report.log_tail]
    return lines


def list_lines(reports: Sequence[CrashReport], own: str) -> list[Line]:
    """Show each report in one line: when, its short id, what, why, and what was decided.

    The node that made a report stands before its path, unless all are of the node `own`.
    """
    if not reports:
        return [Line("good", "no crash reports")]
    several_nodes = any(report.node != own for report in reports)
    rows = [("TIME", "ID", "PATH", "REASON", "DECISION")]
    for report in reports:
        path = escape(f"{report.node}:{report.path}" if several_nodes else report.path)
        when, decided = local_time(report.ended), _decided(report)
        rows.append((when, short_id(report.id), path, escape(report.reason), decided))
    styles: list[Style] = ["dim", *("bad" if _is_end(report) else "plain" for report in reports)]
    return [Line(style, text) for style, text in zip(styles, _columns(rows), strict=True)]


def stats_lines(stats: Stats) -> list[Line]:
    """Show how often each failure was seen, and what was lost."""
    rows = [("COUNT", "LAST", "FIRST", "PATH", "REASON", "WHERE")]
    for one in stats.fingerprints:
        where = one.frame or one.context.value
        times = (local_time(one.last), local_time(one.first))
        rows.append((str(one.count), *times, escape(one.path), escape(one.reason), escape(where)))
    lines = [Line("plain" if number else "dim", text) for number, text in enumerate(_columns(rows))]
    kept = f"{stats.stored} stored, {stats.waiting} waiting for the disk, {stats.expired} expired"
    lost: Style = "bad" if stats.dropped else "good"
    return [*lines, Line("dim", kept), Line(lost, f"{stats.dropped} dropped")]


def short_id(report_id: str) -> str:
    """The end of an id, which tells it apart; `reports.reader` takes it for the whole."""
    return report_id[-_SHORT_ID_LENGTH:]


def local_time(seconds: float) -> str:
    """A time since the epoch in the local zone, to the second: "2026-01-31 17:05:00"."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def duration(seconds: float) -> str:
    """A length of time in its two largest units: "0.21 s", "12.3 s", "4 min 10 s", "2 d 4 h"."""
    if seconds < _MINUTE:
        return f"{seconds:.3g} s"
    whole = int(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def escape(text: str) -> str:
    r"""Write out, as ``\x1b``, every character that would do something to a terminal but print."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def reason_words(reason: str) -> str | None:
    """What a reason means where its own word does not say: "segmentation fault" for SIGSEGV."""
    if reason in _MEANING:
        return _MEANING[reason]
    kind, _, word = reason.rpartition(":")
    if kind.endswith("signal") and word in signal.Signals.__members__:
        return (signal.strsignal(signal.Signals[word]) or word).lower()
    number = getattr(errno, word, None) if kind == "start_failed" else None
    return os.strerror(number).lower() if isinstance(number, int) else None


def _headline(report: CrashReport) -> str:
    """Who, what and why: "root/pool/hash@2 crashed: exit:1 (pid 4242, incarnation 3, up 12 s)"."""
    path = escape(report.path)
    if report.context is Context.SHUTDOWN:
        subject = f"{_supervisor(report)} gave up because of {path}"
    elif report.reason in ("normal", "shutdown"):
        subject = f"{path} ended"
    elif report.reason == "noconnection":
        subject = f"{path} is lost"
    else:
        subject = f"{path} {_HAPPENED[report.context]}"
    why = [escape(report.reason), reason_words(report.reason)]
    why.append("core dumped" if report.core_dumped else None)
    facts = [
        None if report.pid is None else f"pid {report.pid}",
        None if report.incarnation is None else f"incarnation {report.incarnation}",
        None if report.started is None else f"up {duration(max(0, report.ended - report.started))}",
        "adopted" if report.adopted else None,
    ]
    known = _joined(facts)
    return f"{subject}: {_joined(why)}" + (f" ({known})" if known else "")


def _where_and_when(report: CrashReport) -> str:
    via = f" via {escape(', '.join(report.via))}" if report.via else ""
    node = escape(report.node)
    return f"at {local_time(report.ended)} on node {node}{via}, report {escape(report.id)}"


def _decision_line(report: CrashReport) -> Line:
    supervisor = _supervisor(report)
    within = f"within {duration(report.period_s)}"
    if report.decision is Decision.RESTART:
        limit = "" if report.intensity is None else f" of {report.intensity}"
        counted = f"{report.restarts_in_window}{limit} restarts {within}"
        word = "tried again" if report.context is Context.START_ERROR else "restarted"
        return Line("good", f"{supervisor} decided: {word}, {counted}")
    if report.decision is Decision.GIVE_UP:
        return Line("bad", f"{supervisor} decided: gave up, {_why_given_up(report, within)}")
    if report.decision is Decision.REMOVED:
        return Line("plain", f"{supervisor} decided: not restarted, and removed: it is temporary")
    return Line("plain", f"{supervisor} decided: not restarted")


def _why_given_up(report: CrashReport, within: str) -> str:
    if report.intensity is not None and report.restarts_in_window > report.intensity:
        return f"more than {_count(report.intensity, 'restart')} {within}"
    return f"it cannot start without {escape(report.path)}"


def _circumstances(report: CrashReport) -> list[str]:
    texts = []
    if report.beat_age_s is not None:
        texts.append(f"last heartbeat {duration(report.beat_age_s)} before")
    if report.lag_ms is not None:
        texts.append(f"the daemon itself was late by {report.lag_ms:.0f} ms")
    if report.usage is not None:
        memory = f"{report.usage.max_rss_bytes / limits.MIB:.1f} MiB of memory at most"
        user, system = duration(report.usage.user_s), duration(report.usage.system_s)
        texts.append(f"used {memory}, {user} of processor time for itself, {system} in the kernel")
    return texts


def _section(title: str, text: str | None, style: Style) -> list[Line]:
    if not text:
        return []
    lines = [Line(style, _QUOTE + escape(line)) for line in text.splitlines()]
    return [Line("dim", title), *lines]


def _decided(report: CrashReport) -> str:
    """The decision in a word or two, for a column."""
    if report.decision is Decision.RESTART:
        limit = "" if report.intensity is None else f"/{report.intensity}"
        return f"restart {report.restarts_in_window}{limit}"
    words = {
        Decision.GIVE_UP: "gave up",
        Decision.NONE: "not restarted",
        Decision.REMOVED: "removed",
    }
    return words[report.decision]


def _is_end(report: CrashReport) -> bool:
    return report.decision is Decision.GIVE_UP


def _supervisor(report: CrashReport) -> str:
    return escape(report.ancestors[0] if report.ancestors else report.path)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _joined(parts: Sequence[str | None]) -> str:
    return ", ".join(part for part in parts if part is not None)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align all columns but the last to the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
