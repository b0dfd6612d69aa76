"""Reports to store and to show, and stores to put them into."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import msgspec

from supervisord_ng import limits
from supervisord_ng.model.reports import Context, CrashReport, Decision
from supervisord_ng.reports.build import IdSource
from supervisord_ng.reports.reader import Reader
from supervisord_ng.reports.store import Store

T0 = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
KEEP_NS = limits.REPORTS_KEEP_DEFAULT_NS

_ids = IdSource()
_times = count()


def sample(**changes: Any) -> CrashReport:
    """A plain crash report with an id of its own; `changes` are fields."""
    seconds = next(_times)
    report = CrashReport(
        id=_ids.next(int(T0 * 1000) + seconds),
        node="web-1",
        path="root/pool/hash@2",
        worker="hash@2",
        incarnation=3,
        ended=T0 + seconds,
        reason="exit:1",
        context=Context.CHILD_TERMINATED,
        decision=Decision.RESTART,
        restarts_in_window=2,
        intensity=5,
        period_s=10.0,
        ancestors=("root/pool", "root"),
    )
    return msgspec.structs.replace(report, **changes)


@contextmanager
def open_store(path: str, **changes: Any) -> Iterator[Store]:
    """A store at `path` that is closed in the end; `changes` are arguments of `Store.open`."""
    arguments: dict[str, Any] = {
        "keep_ns": KEEP_NS,
        "max_count": limits.REPORTS_MAX_COUNT_DEFAULT,
        "on_problem": _no_problem,
    }
    store = Store.open(path, **(arguments | changes))
    try:
        yield store
    finally:
        store.close(timeout_s=30)


def lock(path: str) -> sqlite3.Connection:
    """Hold the lock for writing, as a person with the sqlite3 shell might."""
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    return stranger


def ids_in(path: str) -> list[str]:
    """The ids of all reports in a store, oldest first."""
    return [report.id for report in reversed(Reader(path).newest())]


def _no_problem(message: str) -> None:
    raise AssertionError(f"a problem where none was expected: {message}")
