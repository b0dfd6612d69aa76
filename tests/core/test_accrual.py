"""The phi detector: its deadline is where Akka's formula says so, and it learns as Akka's does."""

from __future__ import annotations

import math
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_ng.core import accrual, events
from supervisord_ng.core.machine import next_deadline
from supervisord_ng.core.state import Arrivals
from supervisord_ng.limits import MS, PHI_INTERVALS_MAX, PHI_TIMEOUTS_MAX, SECOND
from supervisord_ng.model.spec import Heartbeat
from tests.core.node import BOOM, Node, supervisor, worker

PHI = Heartbeat(SECOND, 4 * SECOND, "phi")
DUMP = ["dump root/a#1"]


class Akka:
    """PhiAccrualFailureDetector.scala written down again: it is asked, and knows no deadlines."""

    def __init__(self, heartbeat: Heartbeat, timeout_ns: int, now: int) -> None:
        mean = heartbeat.interval_ns / MS
        self.pause = max(0.0, (timeout_ns - heartbeat.interval_ns) / MS)
        self.deviation_min = mean / 10
        self.threshold = heartbeat.threshold
        self.history = deque([mean - mean / 4, mean + mean / 4], maxlen=PHI_INTERVALS_MAX)
        self.last = now / MS

    def phi(self, now: int) -> float:
        """The suspicion at this moment."""
        silence = now / MS - self.last
        mean = sum(self.history) / len(self.history)
        variance = sum((one - mean) ** 2 for one in self.history) / len(self.history)
        y = (silence - (mean + self.pause)) / max(math.sqrt(variance), self.deviation_min)
        if y < -20:
            return 0.0
        if y > 20:
            return math.inf
        e = math.exp(-y * (1.5976 + 0.070566 * y * y))
        if silence > mean + self.pause:
            return -math.log10(e / (1 + e))
        return -math.log10(1 - 1 / (1 + e))

    def beats(self, now: int) -> None:
        """A sign of life."""
        silence = now / MS - self.last
        if silence > 0 and self.phi(now) < self.threshold:
            self.history.append(silence)
        self.last = now / MS


heartbeats = st.builds(
    Heartbeat,
    interval_ns=st.integers(100, 5_000).map(lambda ms: ms * MS),
    timeout_ns=st.just(0),
    detector=st.just("phi"),
    threshold=st.sampled_from([1.0, 2.5, 8.0, 12.0]),
)


@settings(deadline=None)
@given(
    heartbeat=heartbeats,
    pauses=st.integers(1, 40),
    silences=st.lists(st.integers(0, 300), max_size=PHI_INTERVALS_MAX + 10),
)
def test_the_deadline_is_where_the_formula_reaches_the_threshold(
    heartbeat: Heartbeat, pauses: int, silences: list[int]
) -> None:
    """After any history: not yet suspected two milliseconds before, suspected two after. Two for rounding."""
    timeout = heartbeat.interval_ns + pauses * heartbeat.interval_ns // 4
    now = 1000 * SECOND
    arrivals, akka = accrual.first(heartbeat, now), Akka(heartbeat, timeout, now)
    for hundredths in silences:
        silence = hundredths * heartbeat.interval_ns // 100
        if abs(silence - accrual.patience_ns(arrivals, heartbeat, timeout)) < 2 * MS:
            continue  # whether this one counts is a matter of rounding
        now += silence
        arrivals = accrual.another(arrivals, heartbeat, timeout, now)
        akka.beats(now)
    due = now + accrual.patience_ns(arrivals, heartbeat, timeout)
    assert akka.phi(due - 2 * MS) < heartbeat.threshold <= akka.phi(due + 2 * MS)


@given(threshold=st.floats(1, 1000))
def test_the_root_is_the_root(threshold: float) -> None:
    """What `deviations` solves in closed form, put into the polynomial again."""
    y = accrual.deviations(threshold)
    odds = y * (1.5976 + 0.070566 * y * y)
    assert math.isclose(threshold * math.log(10), odds + math.log1p(math.exp(-odds)), rel_tol=1e-9)


def test_akkas_own_figures() -> None:
    """Interval 1 s, accepted pause 3 s, threshold 8: 5.31 s after one beat, 4.52 s when all were regular."""
    arrivals = accrual.first(PHI, 0)
    assert 5.31 == round(accrual.patience_ns(arrivals, PHI, PHI.timeout_ns) / SECOND, 2)
    for second in range(1, PHI_INTERVALS_MAX + 1):
        arrivals = accrual.another(arrivals, PHI, PHI.timeout_ns, second * SECOND)
    assert 4.52 == round(accrual.patience_ns(arrivals, PHI, PHI.timeout_ns) / SECOND, 2)


@given(st.lists(st.integers(0, 3600 * SECOND), max_size=300))
def test_memory_and_patience_are_bounded(silences: list[int]) -> None:
    """However a worker beats: so many intervals are kept, and a silence of ten timeouts is always a hang."""
    now, arrivals = 0, accrual.first(PHI, 0)
    for silence in silences:
        now += silence
        arrivals = accrual.another(arrivals, PHI, PHI.timeout_ns, now)
        assert len(arrivals.intervals) <= PHI_INTERVALS_MAX
        patience = accrual.patience_ns(arrivals, PHI, PHI.timeout_ns)
        assert 0 < patience <= PHI_TIMEOUTS_MAX * PHI.timeout_ns


def test_a_clock_that_was_rebased_is_not_learnt_from() -> None:
    """A sign of life of the moment of the last one, or before it, has no interval."""
    arrivals = Arrivals(5 * SECOND, (SECOND, SECOND))
    assert arrivals == accrual.another(arrivals, PHI, PHI.timeout_ns, 5 * SECOND)
    assert arrivals == accrual.another(arrivals, PHI, PHI.timeout_ns, 4 * SECOND)


# --- in a node ----------------------------------------------------------------------------------------
def beating() -> Node:
    """A worker judged by phi, which is ready and has not beaten yet; its stacks never come."""
    node = Node(supervisor("root", worker("a", heartbeat=PHI)))
    node.keeps_stacks("root/a")
    node.told()
    return node


def due_in(node: Node) -> int:
    """How long from now the worker may be silent."""
    deadline = node.state.supervisors["root"].children["a"].deadline
    assert deadline is not None
    return deadline - node.now


def test_who_beats_irregularly_is_given_more() -> None:
    """The same timeout, two workers; the deadline of the node is that of the formula."""
    patience = []
    for silences in ([10] * 20, [2, 18] * 10):
        node = beating()
        node.beats("root/a")
        for tenths in silences:
            node.advance(tenths * 100 * MS)
            node.beats("root/a")
        patience.append(due_in(node))
        assert [] == node.told()
        node.happens(events.Tick())
        deadline = next_deadline(node.state)
        assert deadline is not None
        assert deadline <= node.now + patience[-1]
        node.advance(patience[-1] - 1)
        assert [] == node.told()
        node.advance(1)
        assert DUMP == node.told()
    steady, restless = patience
    assert PHI.timeout_ns < steady < restless


def test_the_daemons_own_lag_is_neither_blamed_nor_learnt() -> None:
    """A daemon that was late by eight seconds expects the next beat when it would have, and learns the rest."""
    node = beating()
    node.beats("root/a")
    node.advance("1s")
    node.beats("root/a")
    before = due_in(node)
    node.lags("8s")
    assert before == due_in(node)
    node.advance("1s")
    node.beats("root/a")
    arrivals = node.state.supervisors["root"].children["a"].arrivals
    assert arrivals is not None
    assert (SECOND, SECOND) == arrivals.intervals[-2:]


def test_many_beats_of_one_batch_are_one_sign() -> None:
    """A daemon that was away finds a queue of them: they say nothing about the worker's pace."""
    node = beating()
    node.beats("root/a")
    before = node.state.supervisors["root"].children["a"].arrivals
    beats = tuple(events.Beat("root/a", 1, number) for number in range(10))
    node.happens(events.Beats(beats))
    assert before == node.state.supervisors["root"].children["a"].arrivals


def test_a_new_life_begins_anew() -> None:
    """What the last incarnation has shown says nothing about this one."""
    node = beating()
    node.beats("root/a")
    node.exits("root/a", BOOM)
    assert node.state.supervisors["root"].children["a"].arrivals is None


def test_a_worker_may_change_its_own_timeout() -> None:
    """WATCHDOG_USEC: the accepted pause changes with it; 0 ends the judging."""
    node = beating()
    node.beats("root/a")
    before = due_in(node)
    node.happens(events.HeartbeatChanged("root/a", 1, 14 * SECOND))
    assert before + 10 * SECOND == due_in(node)
    node.happens(events.HeartbeatChanged("root/a", 1, 0))
    node.beats("root/a")
    node.advance("1h")
    assert [] == node.told()
