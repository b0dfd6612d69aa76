"""Two nodes, real stores, a link that does anything: every report arrives, once and in order."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from supervisord_ng import limits
from supervisord_ng.core import effects, events
from supervisord_ng.core.machine import boot, step
from supervisord_ng.core.state import NodeState, Outbox
from supervisord_ng.model.link import FromChild, FromParent
from supervisord_ng.model.spec import ParentSpec, RemoteSpec, SupervisorSpec
from supervisord_ng.reports import inbox, outbox
from supervisord_ng.reports.outbox import Load
from supervisord_ng.reports.queue import Parcel
from supervisord_ng.reports.store import Store
from tests.reports.samples import KEEP_NS, ids_in, sample
from tests.support import eventually

FRAMES_MAX = 20  # kept on the way in each direction


class Host:
    """A node: its core and its store. What it wants to be said is in `said`."""

    def __init__(
        self, name: str, path: str, root: SupervisorSpec, parent: ParentSpec | None
    ) -> None:
        self.name, self.path = name, path
        self.said: list[FromChild | FromParent | Load] = []
        self.state: NodeState
        self.store: Store
        self._root, self._parent = root, parent
        self._lives = 0
        self._offered: Load | None = None

    def start(self, now: int) -> None:
        """The daemon comes up, with what is on the disk."""
        self._lives += 1
        self.store = Store.open(
            self.path, keep_ns=KEEP_NS, max_count=10_000, on_problem=print, on_stored=lambda _: None
        )
        position = self.store.outbox
        self.state, asked = boot(
            self._root,
            seed=0,
            now=now,
            name=self.name,
            boot_id=f"{self.name}-{self._lives}",
            parent=self._parent,
            outbox=Outbox(position.last, position.acked, position.acked),
        )
        self._do(asked, now)

    def stop(self) -> None:
        """The daemon is gone: all that it kept in memory is."""
        self.store.close(timeout_s=60)
        self._offered = None

    def feed(self, event: events.Event, now: int) -> None:
        """Something happens."""
        self.state, asked = step(self.state, event, now)
        self._do(asked, now)

    def report(self, now: int) -> str:
        """Something crashes here."""
        report = sample(node=self.name)
        self.store.append(report)
        eventually(lambda: not self.store.counts.waiting, "stored")
        self.feed(events.ReportStored(self.store.outbox.last), now)
        return report.id

    def take(self, load: Load, now: int) -> None:
        """A frame of reports has arrived from below."""
        self._offered = load
        self.feed(events.ReportsOffered("leaf", load.after, load.upto), now)

    def _do(self, asked: tuple[effects.Effect, ...], now: int) -> None:
        for effect in asked:
            match effect:
                case effects.SendUp(frame=frame):
                    self.said.append(frame)
                case effects.SendDown(frame=frame):
                    self.said.append(frame)
                case effects.SendReports(after=after, upto=upto):
                    while after < upto:
                        load = outbox.load(self.path, after, upto)
                        self.said.append(load)
                        after = load.upto
                case effects.ReportsAcked(upto=upto):
                    self.store.acknowledged(upto)
                case effects.TakeReports(upto=upto):
                    self._store(upto, now)
                case _:
                    pass

    def _store(self, upto: int, now: int) -> None:
        load, done = self._offered, list[int]()
        assert load is not None
        self.store.receive(
            Parcel(
                lambda: inbox.reports_in(load.packed, load.size, "leaf", _bad),
                load.size,
                lambda: done.append(upto),
            )
        )
        eventually(lambda: done, "stored")
        self.feed(events.ReportsArrived("leaf", upto), now)


class ExactlyOnce(RuleBasedStateMachine):
    """Reports, frames in any order, lost and repeated, either daemon killed at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="sng-", dir="/tmp"))
        self.now = 0
        self.made: list[str] = []
        remote = SupervisorSpec("root", children=(RemoteSpec("leaf", public_key=""),))
        self.top = Host("top", str(self.directory / "top"), remote, None)
        above = ParentSpec(endpoint="", public_key="")
        self.leaf = Host("leaf", str(self.directory / "leaf"), SupervisorSpec("root"), above)
        for host in (self.top, self.leaf):
            host.start(self.now)

    @rule(count=st.integers(1, 3))
    def crashes(self, count: int) -> None:
        """Workers crash on the leaf."""
        self.made += [self.leaf.report(self.now) for _ in range(count)]

    @rule(place=st.integers(0, FRAMES_MAX), again=st.booleans(), up=st.booleans())
    def a_frame_arrives(self, place: int, again: bool, up: bool) -> None:  # noqa: FBT001
        """Any of those on the way, and perhaps once more later."""
        sender, receiver = (self.leaf, self.top) if up else (self.top, self.leaf)
        if sender.said:
            frame = sender.said[place % len(sender.said)]
            if not again:
                sender.said.remove(frame)
            self._deliver(frame, receiver)

    @rule()
    def all_is_well_for_a_moment(self) -> None:
        """Both hear everything in its order, several times."""
        for _ in range(4):
            for sender, receiver in ((self.leaf, self.top), (self.top, self.leaf)):
                said, sender.said = sender.said, []
                for frame in said:
                    self._deliver(frame, receiver)

    @rule(seconds=st.sampled_from([1, 6]))
    def time_passes(self, seconds: int) -> None:
        """Beats, resending, and after long silence the end of a link."""
        self.now += seconds * limits.SECOND
        for host in (self.top, self.leaf):
            host.feed(events.Tick(), self.now)
            del host.said[:-FRAMES_MAX]

    @rule(up=st.booleans())
    def a_daemon_is_killed(self, up: bool) -> None:  # noqa: FBT001
        """And comes back; its parcels are lost."""
        host = self.top if up else self.leaf
        host.stop()
        host.start(self.now)

    @invariant()
    def none_twice_and_in_order(self) -> None:
        """What is at the top is the beginning of what the leaf made."""
        there = ids_in(self.top.path)
        assert self.made[: len(there)] == there

    def teardown(self) -> None:
        """When nothing goes wrong any more, everything arrives."""
        try:
            for _ in range(40):
                self.time_passes(1)
                self.all_is_well_for_a_moment()
            assert self.made == ids_in(self.top.path)
            eventually(lambda: not self.leaf.store.outbox.unsent, "the leaf knows")
        finally:
            for host in (self.top, self.leaf):
                host.stop()
            shutil.rmtree(self.directory)

    def _deliver(self, frame: FromChild | FromParent | Load, to: Host) -> None:
        if isinstance(frame, Load):
            self.top.take(frame, self.now)
        elif to is self.top:
            to.feed(events.FrameFromChild("leaf", frame), self.now)  # type: ignore[arg-type]
        else:
            to.feed(events.FrameFromParent(frame), self.now)  # type: ignore[arg-type]


def _bad(why: str) -> None:
    raise AssertionError(why)


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
