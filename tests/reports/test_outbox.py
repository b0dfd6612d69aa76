"""What the store keeps for the node above, and takes from the nodes below."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from supervisord_ng import limits
from supervisord_ng.model.paths import STORE
from supervisord_ng.model.reports import CrashReport
from supervisord_ng.reports import outbox
from supervisord_ng.reports.outbox import Position
from supervisord_ng.reports.queue import Encoded, Parcel
from supervisord_ng.reports.store import Store
from supervisord_ng.wire import parcel as wire
from tests.reports.samples import ids_in, open_store, sample
from tests.support import eventually


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a store may be."""
    return str(tmp_path / STORE)


def ignore(_: int) -> None:
    """A node above that is told what there is, and does not listen."""


def put(store: Store, count: int) -> list[CrashReport]:
    """Store so many reports of this node, and wait until they are on disk."""
    reports = [sample() for _ in range(count)]
    for report in reports:
        store.append(report)
    eventually(lambda: not store.counts.waiting, "stored")
    return reports


def parcel(reports: Sequence[CrashReport], done: list[str], name: str = "done") -> Parcel:
    """Reports as they come from a node below."""
    encoded = [Encoded(report, msgspec.json.encode(report)) for report in reports]
    return Parcel(lambda: encoded, 100, lambda: done.append(name))


def unpacked(load: outbox.Load) -> list[CrashReport]:
    """What is in a parcel for the node above."""
    bodies = wire.unpack(load.packed, load.size)
    return [msgspec.json.decode(body, type=CrashReport) for body in bodies]


def test_every_report_is_in_the_outbox_until_it_is_acknowledged(path: str) -> None:
    """How far they have come survives the daemon."""
    told: list[int] = []
    with open_store(path, on_stored=told.append) as store:
        put(store, 5)
        assert Position(last=5, acked=0, unsent=5) == store.outbox
        store.acknowledged(3)
        store.acknowledged(2)

    with open_store(path, on_stored=told.append) as store:
        assert Position(last=5, acked=3, unsent=2) == store.outbox
    assert 5 == told[-1]


def test_what_is_sent_is_what_was_stored_in_order(path: str) -> None:
    """From the number asked for on, as much as fits into a frame, and again when asked again."""
    with open_store(path, on_stored=ignore) as store:
        reports = put(store, 6)

    load = outbox.load(path, 2, 5)

    assert (2, 5) == (load.after, load.upto)
    assert reports[2:5] == unpacked(load)
    assert load == outbox.load(path, 2, 5)


def test_a_frame_holds_a_bounded_piece(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least one report, however large; the next frame goes on behind it."""
    monkeypatch.setattr(limits, "LINK_REPORTS_BYTES", 1_000)
    with open_store(path, on_stored=ignore) as store:
        reports = put(store, 3)

    first = outbox.load(path, 0, 3)
    rest = outbox.load(path, first.upto, 3)

    assert first.upto < 3
    assert reports[first.upto : rest.upto] == unpacked(rest)


def test_a_report_too_large_for_a_frame_travels_without_its_evidence(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not block those behind it; here it stays whole."""
    monkeypatch.setattr(limits, "LINK_PACKED_MAX", 10_000)
    with open_store(path, on_stored=ignore) as store:
        store.append(sample(stacks=os.urandom(10_000).hex(), message="it hung"))
        eventually(lambda: store.outbox.last == 1, "stored")

    (sent,) = unpacked(outbox.load(path, 0, 1))

    assert sent.stacks is None
    assert sent.message == (
        "it hung; log, stacks and traceback did not fit into a message between nodes"
    )


def test_what_is_not_kept_any_more_is_passed_over(path: str) -> None:
    """The numbers of what is gone are said to be sent, so that the rest is not held up."""
    with open_store(path, on_stored=ignore, max_count=2) as store:
        put(store, 5)

        assert [] == unpacked(outbox.load(path, 0, 3))
        assert 2 == len(unpacked(outbox.load(path, 3, 5)))


def test_a_full_outbox_drops_the_oldest_unsent_and_counts_it(path: str) -> None:
    """What was sent makes room first, and is merely expired."""
    with open_store(path, on_stored=ignore, max_count=4) as store:
        put(store, 4)
        store.acknowledged(2)
        put(store, 3)
        counts, position = store.counts, store.outbox

    assert (4, 0, 1, 2) == counts
    assert Position(last=7, acked=2, unsent=4) == position


def test_without_a_node_above_nothing_is_lost_by_removing(path: str) -> None:
    """It is kept as long as was asked for."""
    with open_store(path, max_count=4) as store:
        put(store, 7)
        assert (4, 0, 0, 3) == store.counts


def test_what_comes_from_below_is_stored_once_and_then_said_so(path: str) -> None:
    """In the order of its node, whatever is repeated, and not before it is on disk."""
    reports = [sample(node="edge") for _ in range(4)]
    done: list[str] = []
    told: list[int] = []
    with open_store(path, on_stored=told.append) as store:
        store.receive(parcel(reports[:2], done, "first"))
        store.receive(parcel(reports[:3], done, "second"))
        store.receive(parcel(reports[2:], done, "third"))
        eventually(lambda: len(done) == 3, "stored")
        on_disk = ids_in(path)
        last = store.outbox.last

    assert ["first", "second", "third"] == done
    assert [report.id for report in reports] == on_disk
    assert last == told[-1]


def test_parcels_are_refused_when_there_is_no_room(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie in the store of their node; reports of this node still find room."""
    monkeypatch.setattr(limits, "REPORTS_RECEIVED_BYTES_MAX", 100)
    with open_store(path) as store:
        assert store.has_room(100)
        assert not store.has_room(101)


def test_a_new_file_goes_on_with_the_numbers_of_the_old_one(path: str) -> None:
    """Otherwise the node above, which has higher ones, would never be sent what comes now."""
    problems: list[str] = []
    with open_store(path, on_stored=ignore, on_problem=problems.append) as store:
        put(store, 5)
        store.acknowledged(4)
        os.rename(path, path + ".taken-away")
        (report,) = put(store, 1)
        position = store.outbox

    assert Position(last=6, acked=4, unsent=1) == position
    assert [report] == unpacked(outbox.load(path, 4, 6))
    assert [f"the store was moved or deleted, a new one is begun: {path}"] == problems
