"""Which failures count as the same failure."""

from __future__ import annotations

from pathlib import Path

from supervisord_ng.model.reports import Context
from supervisord_ng.reports.reader import Reader
from supervisord_ng.reports.stats import (
    FingerprintCount,
    last_frame,
    merge,
    without_instance,
)
from tests.reports.samples import open_store, sample

TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/jobs.py", line 12, in main
    resize(item)
  File "/srv/app/resize.py", line 41, in Resizer.resize
    raise ValueError(item)
ValueError: too wide
"""
CHAINED = (
    TRACEBACK
    + """
During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/app/jobs.py", line 15, in main
    give_back(item)
KeyError: 'item'
"""
)


def counted(path: str, count: int, first: float, last: float) -> FingerprintCount:
    """One count of the same failure at `path`."""
    return FingerprintCount(
        path=path,
        reason="exit:1",
        context=Context.CHILD_TERMINATED,
        frame=None,
        count=count,
        first=first,
        last=last,
    )


def test_a_traceback_is_known_by_where_it_ends() -> None:
    """The last frame of the last exception; none where there is no Python traceback."""
    assert "resize.py:41 in Resizer.resize" == last_frame(TRACEBACK)
    assert "jobs.py:15 in main" == last_frame(CHAINED)
    assert last_frame("thread 'main' panicked at src/main.rs:2:5") is None
    assert last_frame(None) is None


def test_instances_of_a_worker_share_a_path() -> None:
    """Only the last part of a path can be an instance."""
    assert "root/pool/hash" == without_instance("root/pool/hash@12")
    assert "root/pool/hash" == without_instance("root/pool/hash")
    assert "root" == without_instance("root")


def test_counts_of_instances_are_joined() -> None:
    """Counts add up, first is the earliest, last the latest; the most frequent come first."""
    counts = [
        counted("root/a@1", 2, 10.0, 20.0),
        counted("root/b", 4, 1.0, 2.0),
        counted("root/a@2", 3, 5.0, 15.0),
    ]

    assert (counted("root/a", 5, 5.0, 20.0), counted("root/b", 4, 1.0, 2.0)) == merge(counts)


def test_a_store_counts_its_reports_by_fingerprint(tmp_path: Path) -> None:
    """Reports differ by reason, context and line of code, not by instance or node."""
    path = str(tmp_path / "store.sqlite3")
    reports = [
        sample(path="root/hash@1", traceback=TRACEBACK),
        sample(path="root/hash@2", traceback=TRACEBACK, node="web-2"),
        sample(path="root/hash@2", traceback=CHAINED),
        sample(path="root/hash@2", reason="signal:SIGKILL"),
        sample(path="root/hash@2", traceback=TRACEBACK, context=Context.START_ERROR),
    ]
    with open_store(path) as store:
        for report in reports:
            store.append(report)

    stats = Reader(path).stats()

    assert (5, 0, 0, 0) == (stats.stored, stats.waiting, stats.dropped, stats.expired)
    assert [2, 1, 1, 1] == [one.count for one in stats.fingerprints]
    most = stats.fingerprints[0]
    assert ("root/hash", "exit:1", "resize.py:41 in Resizer.resize") == (
        most.path,
        most.reason,
        most.frame,
    )
    assert (reports[0].ended, reports[1].ended) == (most.first, most.last)
