"""The record of a crash, and the ids that keep records in order."""

from __future__ import annotations

import uuid
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from supervisord_ng import limits
from supervisord_ng.core import effects
from supervisord_ng.model.exits import abnormal
from supervisord_ng.model.reports import Context, CrashReport, Decision, Usage
from supervisord_ng.reports.build import NO_EVIDENCE, Evidence, IdSource, ancestors, build

WALL_MS_MAX = 2**48 - 1


def effect(path: str = "root/pool/hash@2", beat_age_ns: int | None = None) -> effects.Report:
    """What the core says of a crash."""
    return effects.Report(
        supervisor="root/pool",
        context=Context.CHILD_TERMINATED,
        path=path,
        offender=3,
        retrying=False,
        reason=abnormal("exit:1"),
        decision=Decision.RESTART,
        restarts_in_window=2,
        intensity=None,
        period_ns=2_500_000_000,
        incarnation=3,
        beat_age_ns=beat_age_ns,
    )


@given(st.lists(st.integers(0, 2**40) | st.integers(0, 3), max_size=200), st.randoms())
def test_ids_sort_in_the_order_of_their_making(clock: list[int], chance: Random) -> None:
    """Whatever the wall clock does, ids of one process are strictly increasing, and UUIDv7."""
    source = IdSource(chance.randbytes)

    ids = [source.next(wall_ms) for wall_ms in clock]

    assert sorted(set(ids)) == ids
    assert [7] * len(ids) == [uuid.UUID(one).version for one in ids]
    assert all(uuid.UUID(one).variant == uuid.RFC_4122 for one in ids)


@given(st.integers(0, WALL_MS_MAX))
def test_an_id_begins_with_its_time(wall_ms: int) -> None:
    """The first 48 bits are the milliseconds since the epoch (RFC 9562, section 5.7)."""
    assert wall_ms == uuid.UUID(IdSource().next(wall_ms)).int >> 80


def test_ten_thousand_ids_of_one_millisecond_stay_in_order() -> None:
    """When the counter is used up the time in the id runs ahead (RFC 9562, section 6.2)."""
    source = IdSource()

    ids = [source.next(1000) for _ in range(10_000)]

    assert sorted(set(ids)) == ids


def test_a_report_holds_what_the_core_decided_and_what_the_shell_knows() -> None:
    """Every field, once."""
    evidence = Evidence(
        pid=4242,
        started=100.0,
        ended=112.5,
        core_dumped=True,
        traceback="boom",
        stacks="Thread 1",
        log_tail=("one", "two"),
        usage=Usage(1024, 0.5, 0.25),
        lag_ms=1.5,
        adopted=True,
        message="step 7 failed",
    )

    report = build(
        effect(beat_age_ns=5_200_000_000),
        kind="worker",
        node="web-1",
        evidence=evidence,
        now_wall_s=113.0,
        report_id="an id",
    )

    assert report == CrashReport(
        id="an id",
        node="web-1",
        path="root/pool/hash@2",
        worker="hash@2",
        incarnation=3,
        pid=4242,
        started=100.0,
        ended=112.5,
        reason="exit:1",
        core_dumped=True,
        context=Context.CHILD_TERMINATED,
        decision=Decision.RESTART,
        restarts_in_window=2,
        intensity=None,
        period_s=2.5,
        ancestors=("root/pool", "root"),
        traceback="boom",
        stacks="Thread 1",
        log_tail=("one", "two"),
        usage=Usage(1024, 0.5, 0.25),
        beat_age_s=5.2,
        lag_ms=1.5,
        adopted=True,
        message="step 7 failed",
    )


def test_a_supervisor_is_no_worker_and_ends_when_it_is_reported() -> None:
    """Without evidence the report's own time is the end."""
    report = build(
        effect("root/pool"),
        kind="supervisor",
        node="web-1",
        evidence=NO_EVIDENCE,
        now_wall_s=113.0,
        report_id="an id",
    )

    assert (None, 113.0, None) == (report.worker, report.ended, report.pid)


def test_ancestors_are_named_nearest_first() -> None:
    """The root has none."""
    assert ("root/web/pool", "root/web", "root") == ancestors("root/web/pool/hash@2")
    assert () == ancestors("root")


def test_texts_are_bounded_where_they_say_least() -> None:
    """A traceback keeps its end, stacks keep their beginning; both say that they were cut."""
    evidence = Evidence(
        traceback="x" * limits.TRACEBACK_MAX + "ValueError: it",
        stacks="hung here" + "x" * limits.STACKS_MAX,
    )

    report = build(
        effect(), kind="worker", node="n", evidence=evidence, now_wall_s=1.0, report_id="i"
    )

    assert report.traceback is not None
    assert report.stacks is not None
    assert report.traceback.startswith("... 14 characters cut ...\nx")
    assert report.traceback.endswith("xValueError: it")
    assert report.stacks.startswith("hung herex")
    assert report.stacks.endswith("x\n... 9 characters cut ...")


def test_names_that_are_not_utf8_can_be_stored() -> None:
    """A lone surrogate, from a file name, is written out: JSON and SQLite could not hold it."""
    evidence = Evidence(
        message="no such file: /srv/\udcff", log_tail=("\udc80",), traceback="\udc81"
    )

    report = build(
        effect(), kind="worker", node="n", evidence=evidence, now_wall_s=1.0, report_id="i"
    )

    assert "no such file: /srv/\\udcff" == report.message
    assert ("\\udc80",) == report.log_tail
    assert "\\udc81" == report.traceback
