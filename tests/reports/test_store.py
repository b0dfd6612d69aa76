"""What a store takes it keeps, once and in order, within its bounds."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from supervisord_ng import limits
from supervisord_ng.model.paths import STORE
from supervisord_ng.reports.reader import Reader
from tests.reports.samples import KEEP_NS, T0, ids_in, lock, open_store, sample
from tests.support import eventually


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a store may be."""
    return str(tmp_path / STORE)


# --- writing and reading --------------------------------------------------------------------------


def test_a_report_is_read_back_as_it_was(path: str) -> None:
    """Every field survives the disk."""
    report = sample(traceback="x\ny", log_tail=("a", "é\x1b"), via=("edge",), started=1.25)

    with open_store(path) as store:
        store.append(report)

    assert [report] == Reader(path).newest()


def test_done_means_stored(path: str) -> None:
    """When `done` is called another reader finds the report already, and it is called once."""
    found: list[str] = []

    with open_store(path) as store:
        reports = [sample() for _ in range(20)]
        for report in reports:
            store.append(report, done=lambda stored: found.append(Reader(path).get(stored).id))

    assert [report.id for report in reports] == found


def test_the_same_report_twice_is_stored_once(path: str) -> None:
    """An uplink delivers at least once; the id makes it exactly once. Both are acknowledged."""
    report, done = sample(), list[str]()
    with open_store(path) as store:
        store.append(report, done.append)
        store.append(report, done.append)
    with open_store(path) as store:
        store.append(report, done.append)
        eventually(lambda: len(done) == 3, "acknowledged")
        counts = store.counts

    assert 1 == counts.stored
    assert [report] == Reader(path).newest()


def test_reading_while_it_is_written_sees_whole_history(path: str) -> None:
    """A reader sees the first so many reports, in order, never a gap; and disturbs nobody."""
    reports = [sample() for _ in range(600)]
    wanted = [report.id for report in reports]
    views: list[list[str]] = []
    written = threading.Event()

    def read() -> None:
        while not written.is_set():
            views.append(ids_in(path))

    with open_store(path) as store:
        reader = threading.Thread(target=read)
        reader.start()
        for report in reports:
            store.append(report)
        eventually(lambda: store.counts.waiting == 0, "stored")
        written.set()
        reader.join()

    assert [wanted[: len(view)] for view in views] == views
    assert wanted == ids_in(path)


# --- incarnations ---------------------------------------------------------------------------------


def test_incarnation_numbers_survive_and_only_grow(path: str) -> None:
    """No number is used twice, whatever order the calls come in."""
    saved: list[int] = []
    with open_store(path) as store:
        assert {} == store.load_incarnations()
        store.save_incarnations({"root/a": 5, "root/b": 1}, done=lambda: saved.append(1))
        store.save_incarnations({"root/a": 3}, done=lambda: saved.append(2))
        eventually(lambda: saved == [1, 2], "saved")
        on_disk = Reader(path).incarnations()
        store.save_incarnations({"root/b": 2})

    with open_store(path) as store:
        assert {"root/a": 5, "root/b": 2} == store.load_incarnations()
    assert {"root/a": 5, "root/b": 1} == on_disk


# --- bounds ---------------------------------------------------------------------------------------


def test_of_too_many_reports_the_oldest_go(path: str) -> None:
    """`max_count` is configured, so what it removes is expired, not dropped; also after a reload."""
    reports = [sample() for _ in range(10)]
    with open_store(path, max_count=4) as store:
        for report in reports:
            store.append(report)
        eventually(lambda: store.counts.expired == 6, "expired")
        assert (4, 0, 0, 6) == store.counts
        store.set_bounds(KEEP_NS, 2)
        store.append(sample(id="newest"))
        eventually(lambda: store.counts.expired == 9, "expired")

    assert [reports[-1].id, "newest"] == ids_in(path)


def test_reports_older_than_keep_go(path: str) -> None:
    """By our own clock at their arrival: the clock of another node says nothing."""
    now = [T0]
    with open_store(path, keep_ns=10 * limits.SECOND, clock=lambda: now[0]) as store:
        store.append(sample(id="first", ended=T0 + 1_000_000))
        eventually(lambda: store.counts.stored == 1, "stored")
        now[0] += 10.5
        store.append(sample(id="second", ended=0.0))
        eventually(lambda: store.counts.expired == 1, "expired")

    assert ["second"] == ids_in(path)
    assert 1 == Reader(path).stats().expired


def test_what_waits_is_bounded_in_number_and_bytes_and_the_oldest_is_dropped(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a stranger holds the lock nothing blocks, nothing grows, and the loss is counted."""
    monkeypatch.setattr(limits, "REPORTS_WAITING_MAX", 20)
    monkeypatch.setattr(limits, "STORE_BATCH_MAX", 5)
    monkeypatch.setattr(limits, "REPORTS_WAITING_BYTES_MAX", 100_000)
    problems: list[str] = []
    reports = [sample() for _ in range(100)]

    with open_store(path, on_problem=problems.append) as store:
        stranger = lock(path)
        for report in reports:
            store.append(report)
        many = store.counts
        store.append(sample(id="large", message="x" * 90_000))
        large = store.counts
        store.append(sample(id="too large", message="x" * 200_000))
        stranger.close()
        eventually(lambda: store.counts.waiting == 0, "stored", timeout_s=30)
        counts = store.counts

    assert (0, 20, 80) == many[:3]
    assert large.waiting <= 20
    assert 102 == counts.stored + counts.dropped
    assert "large" in ids_in(path)
    assert counts.dropped == Reader(path).stats().dropped
    with open_store(path) as store:
        assert counts.dropped == store.counts.dropped
