"""What a person reads of a crash, to the letter."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from supervisord_ng.model.reports import Context, Decision, Usage
from supervisord_ng.reports import render
from supervisord_ng.reports.stats import FingerprintCount, Stats
from tests.reports.samples import T0, sample

ID = "018bcfe5-6800-7abc-8def-0123456789ab"

WHOLE = r"""
title root/hash@2 crashed: signal:SIGSEGV, segmentation fault, core dumped (pid 4242, incarnation 3, up 12.3 s)
dim   at 2023-11-14 22:13:20 on node web-1 via edge-1, mid, report 018bcfe5-6800-7abc-8def-0123456789ab
bad   while hashing /srv/files/7
good  root decided: restarted, 2 of 5 restarts within 10 s
dim   last heartbeat 5.25 s before
dim   the daemon itself was late by 12 ms
dim   used 12.0 MiB of memory at most, 0.31 s of processor time for itself, 1 min 5 s in the kernel
dim   traceback:
bad     | Traceback (most recent call last):
bad     |   File "hash.py", line 12, in f
bad     | ValueError
dim   stacks when it hung:
plain   | Thread 1:
plain   |   hash.py:12
dim   last 2 lines of its log:
plain   | reading
plain   | hashing \x1b[31m7
"""

SPARSE = """
title root/pool/hash@2 crashed: exit:1
dim   at 2023-11-14 22:13:20 on node web-1, report 018bcfe5-6800-7abc-8def-0123456789ab
good  root/pool decided: restarted, 2 of 5 restarts within 10 s
"""

LIST = """
dim   TIME                 ID        PATH              REASON             DECISION
bad   2023-11-14 22:13:20  456789ab  root/pool/hash@2  heartbeat_timeout  gave up
plain 2023-11-14 22:13:20  456789ab  root/api          exit:1             restart 2/5
"""

STATS = """
dim   COUNT  LAST                 FIRST                PATH       REASON  WHERE
plain 12     2023-11-14 22:14:20  2023-11-14 22:13:20  root/hash  exit:1  hash.py:12 in f
dim   12 stored, 1 waiting for the disk, 3 expired
bad   2 dropped
"""


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are local; be in Greenwich."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def text_of(lines: list[render.Line]) -> str:
    """Lines with their styles, as one text."""
    return "\n".join(f"{line.style:5} {line.text}" for line in lines)


def headline(**changes: object) -> str:
    """The first line of a report."""
    return render.report_lines(sample(ended=T0, **changes))[0].text


def decision(**changes: object) -> str:
    """The line that says what was decided."""
    lines = render.report_lines(sample(ended=T0, **changes))
    return next(line.text for line in lines if " decided: " in line.text)


def test_a_whole_report() -> None:
    """Everything that a report may hold, in the order in which one asks."""
    report = sample(
        id=ID,
        pid=4242,
        started=T0 - 12.34,
        ended=T0,
        reason="signal:SIGSEGV",
        core_dumped=True,
        message="while hashing /srv/files/7",
        traceback='Traceback (most recent call last):\n  File "hash.py", line 12, in f\nValueError',
        stacks="Thread 1:\n  hash.py:12",
        log_tail=("reading", "hashing \x1b[31m7"),
        usage=Usage(12 * 1024 * 1024, 0.31, 65.0),
        beat_age_s=5.25,
        lag_ms=12.4,
        path="root/hash@2",
        ancestors=("root",),
        via=("edge-1", "mid"),
    )

    assert WHOLE.strip() == text_of(render.report_lines(report))


def test_a_report_that_knows_little_says_little() -> None:
    """What is missing is not mentioned."""
    assert SPARSE.strip() == text_of(render.report_lines(sample(id=ID, ended=T0, incarnation=None)))


def test_headlines_say_what_happened() -> None:
    """Each context in its own words, each reason with its meaning where the word does not say it."""
    start, stop, end = Context.START_ERROR, Context.SHUTDOWN_ERROR, Context.SHUTDOWN
    who, number = "root/pool/hash@2", "(incarnation 3)"
    gave_up = "reached_max_restart_intensity"

    assert (
        f"{who} could not be started: start_failed:ENOENT, no such file or directory {number}"
        == (headline(context=start, reason="start_failed:ENOENT"))
    )
    assert f"{who} could not be started: start_failed:timeout, not ready in time {number}" == (
        headline(context=start, reason="start_failed:timeout")
    )
    assert f"{who} could not be started: start_failed:exit:3 {number}" == (
        headline(context=start, reason="start_failed:exit:3")
    )
    assert f"{who} did not stop in order: killed, it had to be killed {number}" == (
        headline(context=stop, reason="killed")
    )
    assert f"root/pool gave up because of {who}: {gave_up}, it restarted too often {number}" == (
        headline(context=end, reason=gave_up)
    )
    assert (
        f"{who} crashed: heartbeat_timeout, it hung, no heartbeat or no progress in time {number}"
        == (headline(reason="heartbeat_timeout"))
    )
    assert f"{who} crashed: signal:SIGRTMIN+3 {number}" == headline(reason="signal:SIGRTMIN+3")
    assert f"{who} crashed: liveness, its liveness probe failed (incarnation 3, adopted)" == (
        headline(reason="liveness", adopted=True)
    )
    assert f"{who} ended: normal {number}" == headline(reason="normal")
    assert f"{who} is lost: noconnection, no sign of life from its node {number}" == (
        headline(reason="noconnection")
    )


def test_decisions_in_plain_words() -> None:
    """What the supervisor did, and the rule it followed."""
    give_up = {"decision": Decision.GIVE_UP, "period_s": 90.0}

    assert "root/pool decided: restarted, 2 restarts within 10 s" == decision(intensity=None)
    assert "root/pool decided: tried again, 2 of 5 restarts within 10 s" == (
        decision(context=Context.START_ERROR)
    )
    assert "root/pool decided: gave up, more than 1 restart within 1 min 30 s" == (
        decision(intensity=1, **give_up)
    )
    assert "root/pool decided: gave up, it cannot start without root/pool/hash@2" == (
        decision(context=Context.START_ERROR, **give_up)
    )
    assert "root/pool decided: not restarted" == decision(decision=Decision.NONE)
    assert "root/pool decided: not restarted, and removed: it is temporary" == (
        decision(decision=Decision.REMOVED)
    )


def test_a_list_has_a_line_for_each_report() -> None:
    """Aligned, with the short id that `crashes show` takes; a give-up stands out."""
    reports = [
        sample(id=ID, ended=T0, reason="heartbeat_timeout", decision=Decision.GIVE_UP),
        sample(id=ID, ended=T0, path="root/api"),
    ]

    assert LIST.strip() == text_of(render.list_lines(reports, "web-1"))


def test_a_list_over_several_nodes_names_them() -> None:
    """The same path may be a crash on another host."""
    assert "edge-1:root/a" in text_of(
        render.list_lines([sample(path="root/a", node="edge-1")], "top")
    )
    lines = render.list_lines(
        [sample(path="root/a"), sample(path="root/a", node="edge-1")], "web-1"
    )

    assert ["web-1:root/a", "edge-1:root/a"] == [line.text.split()[3] for line in lines[1:]]


def test_no_reports_is_good_news() -> None:
    """And not an empty screen."""
    assert [render.Line("good", "no crash reports")] == render.list_lines([], "web-1")


def test_stats_show_counts_and_losses() -> None:
    """The most frequent first, as counted; a loss is red."""
    one = FingerprintCount(
        path="root/hash",
        reason="exit:1",
        context=Context.CHILD_TERMINATED,
        frame="hash.py:12 in f",
        count=12,
        first=T0,
        last=T0 + 60,
    )
    stats = Stats(stored=12, waiting=1, dropped=2, expired=3, fingerprints=(one,))

    assert STATS.strip() == text_of(render.stats_lines(stats))


def test_nothing_from_a_worker_reaches_the_terminal_as_it_is() -> None:
    """Controls, text that hides or reorders, and halves of characters are written out; tabs stay."""
    assert r"a\x1b]0;title\x07b" == render.escape("a\x1b]0;title\x07b")
    assert r"\r\x9b2J\x7f\n" == render.escape("\r\x9b2J\x7f\n")
    assert r"user\u202etxt.exe\ufeff\ud800" == render.escape("user\u202etxt.exe\ufeff\ud800")
    assert "tab\tcafé 木" == render.escape("tab\tcafé 木")


def test_durations_keep_their_two_largest_units() -> None:
    """As one would say it."""
    lengths = [0.0123, 9.99, 59.94, 60, 3599, 3600, 90_000]

    assert ["0.0123 s", "9.99 s", "59.9 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "1 d 1 h"] == [
        render.duration(seconds) for seconds in lengths
    ]
