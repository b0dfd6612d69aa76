"""One node of a simulated fleet: a host whose daemons have neighbours, and a disk with reports for them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from supervisord_ng import limits
from supervisord_ng.core import effects, events, memory
from supervisord_ng.core.machine import boot, next_deadline
from supervisord_ng.core.state import NodeState, Outbox
from supervisord_ng.model.link import Hello
from supervisord_ng.model.spec import ParentSpec, SupervisorSpec
from supervisord_ng.sim.agenda import Planner
from supervisord_ng.sim.disk import Disk
from supervisord_ng.sim.faults import NONE, Faults
from supervisord_ng.sim.host import Host
from supervisord_ng.sim.linkbooks import NodeChecker
from supervisord_ng.sim.trace import Trace
from supervisord_ng.sim.world import Happening

ROOMS = (1_000_000, 1_000_000, 20)  # reports that a disk holds: nearly always enough, or a few
FRAME_REPORTS_MAX = 5  # in one frame: few, so that a window is many frames
PATIENT = 0.7  # how likely a daemon is killed in the midst of something
DISK_NS = 30 * limits.MS  # until what was written is durable

Act = Callable[[], None]


class Batch(NamedTuple):
    """Reports on a link, from one boot to another: their ids, and the numbers before and of the last one."""

    boot: str
    to: str | None
    ids: tuple[str, ...]
    after: int
    upto: int


class Station(Host):
    """A node. `send_up` and `send_down(remote)` carry frames and batches; the fleet says where to.

    Attributes:
        boots: of its daemon, those that go on included.
        lives_ended: how many lives of its root supervisor are over, those that a daemon forgot included.
        relived: the lives that a daemon went on with though they had ended, because its disk was behind.
        gather_ns: how long what comes from below is left to gather, as a daemon with many nodes below does; 0:
            not at all.
    """

    def __init__(
        self,
        name: str,
        spec: SupervisorSpec,
        parent: ParentSpec | None,
        chance: random.Random,
        faults: Faults,
        agenda: Planner[Act],
        trace: Trace,
    ) -> None:
        plans = _Plans(self, agenda)
        super().__init__(spec, faults, chance, plans, trace, NodeChecker, f"{name}: ")
        self.name = name
        self.disk = Disk(chance.choice(ROOMS))
        self.send_up: Callable[[object], None] = _nowhere
        self.send_down: dict[str, Callable[[object], None]] = {}
        self.boots = 0
        self.lives_ended = 0
        self.relived: set[str] = set()
        self.gather_ns = 0
        self._agenda = agenda
        self._parent = parent
        self._offered: Batch | None = None
        self._reports = 0
        self._life: str | None = None  # of its root supervisor, as last seen; None: none
        self._ended: set[str] = set()  # lives of it
        self._gathered: list[events.FrameFromChild] = []
        self._patient = (
            False  # the daemon is not killed before something happens that the disk lacks
        )
        self._seen: NodeState | None = None
        self._idle = False  # the last step has changed nothing that is written down
        self._spoken_to: dict[str, int] = {}  # the last daemon of each node below that said hello

    @property
    def state(self) -> NodeState:
        """Of its daemon, which has to run."""
        return self._state

    @property
    def books(self) -> NodeChecker:
        """What is known of it."""
        assert isinstance(self._checker, NodeChecker)
        return self._checker

    def start(self) -> None:
        """A daemon comes up, if none runs: it goes on after one that was killed, else it begins anew."""
        if self.is_up:
            return
        if self._journal is not None:
            self._begin_again()
            return
        if self.boots:
            self._checker = self._checker.anew(self.spec, ())
        self._daemon, asked = boot(
            self.spec,
            seed=self._chance.getrandbits(64),
            now=self._plans.now,
            incarnations=self._reserved,
            **self._of_the_node(),
        )
        self._alive(lambda: self._begin("boot", asked))

    def crash(self) -> None:
        """The host goes down: its processes are gone, and what was not durable is lost."""
        self._trace.say(f"{self._plans.now / limits.SECOND:.6f} {self.name}: CRASH")
        self._down()
        self.disk.lose()
        self._world.host_crashed()

    def feed(self, event: events.Event) -> None:
        """Something happens to the node, if there is one."""
        if self.is_up:
            self._alive(lambda: self._feed(event))

    def tick_at(self) -> int | None:
        """When its core wants to be woken."""
        return next_deadline(self._state) if self.is_up else None

    def frame_from_parent(self, value: object) -> None:
        """Something came down the link."""
        self.feed(events.FrameFromParent(value))  # type: ignore[arg-type]

    def from_child(self, remote: str, connection: tuple[int, int], value: object) -> None:
        """Something came up a link: a frame, or reports to be stored.

        `connection` names the daemons at its ends. It is gone with the upper one; and that does not listen to
        an earlier daemon of a node any more when a later one has said hello (`runtime.linkserver`).
        """
        lower, upper = connection
        if upper != self.boots or lower < self._spoken_to.get(remote, 0):
            return
        if isinstance(value, Hello):
            self._spoken_to[remote] = lower
        if isinstance(value, Batch):
            self._reports_from(remote, value)
            return
        frame = events.FrameFromChild(remote, value)  # type: ignore[arg-type]
        if self.gather_ns == 0:
            self.feed(frame)
            return
        if not self._gathered:
            self._agenda.after(self.gather_ns, self._read_gathered)
        self._gathered.append(frame)

    def _reports_from(self, remote: str, batch: Batch) -> None:
        if not self.is_up:
            return
        peer = self._state.downlinks[remote].peer
        if (batch.boot, batch.to) == (peer, self._state.boot):
            self._offered = batch
            self.feed(events.ReportsOffered(remote, batch.after, batch.upto))

    def _read_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        self.feed(events.FramesFromChildren(tuple(gathered)))

    def calm(self) -> None:
        """Nothing goes wrong here from now on, but for a daemon whose disk is behind already."""
        self._calm()
        self._patient = False

    def restless(self) -> list[str]:
        """What in its own tree is not yet as it must be."""
        return [f"{self.name}: {what}" for what in self._restless_tree()]

    def check_accounts(self) -> None:
        """Everyone who was started has an end that was told, or lives and is known."""
        self._check_accounts()

    # --- its daemons ------------------------------------------------------------------------------
    def _of_the_node(self) -> dict[str, Any]:
        """A new daemon: a new name of its boot; how far the reports have come is on the disk."""
        self.boots += 1
        self._spoken_to.clear()
        return {
            "name": self.name,
            "boot_id": f"{self.name}-{self.boots}",
            "parent": self._parent,
            "outbox": Outbox(len(self.disk.reports), self.disk.acked, self.disk.acked),
        }

    def _alive(self, act: Act) -> None:
        super()._alive(act)
        if self.is_up and self._checker.halted is not None:
            self.disk.catch_up()
            self._down()

    def _down(self) -> None:
        """No daemon runs, and the next one begins anew."""
        self._daemon = self._journal = self._dies_in = self._stalls_in = None
        self._gathered.clear()

    def _falls_behind(self) -> None:
        self.disk.falls_behind()
        self._patient = self._faults is not NONE and self._chance.random() < PATIENT

    def _burn(self) -> None:
        if not (self._patient and self._idle):  # most steps of a fleet are beats
            super()._burn()

    def _falls(self) -> None:
        self.disk.lose()
        self._gathered.clear()

    def _decided(self) -> None:
        state = self._state
        self._idle = self._seen is not None and memory.is_same(state, self._seen)
        self._seen = state
        self.books.decided(state)
        life = state.life if state.supervisors[state.root].alive else None
        if self._life == life:
            return
        if self._life is not None:
            self.lives_ended += 1
            self._ended.add(self._life)
        if life is not None and life in self._ended:
            self.relived.add(life)
        self._life = life

    # --- what its daemon asks for -----------------------------------------------------------------
    def _perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Report():
                self._reports += 1
                self._store((f"{self.name}-{self.boots}-{self._reports}",), own=True)
            case effects.SendUp(frame=frame):
                self.send_up(frame)
            case effects.SendDown(remote=remote, frame=frame):
                self.send_down[remote](frame)
            case effects.SendReports(after=after, upto=upto):
                self._send_reports(after, upto)
            case effects.TakeReports(remote=remote):
                self._take_reports(remote)
            case effects.ReportsAcked(upto=upto):
                self.disk.acknowledged(upto)
            case _:
                pass

    def _send_reports(self, after: int, upto: int) -> None:
        """In frames of some reports each, every one of which may get lost."""
        uplink = self._state.uplink
        assert uplink is not None
        while after < upto:
            end = min(upto, after + self._chance.randint(1, FRAME_REPORTS_MAX))
            ids = self.disk.kept(after, end)
            self.send_up(Batch(self._state.boot, uplink.peer, ids, after, end))
            after = end

    def _take_reports(self, remote: str) -> None:
        batch = self._offered
        assert batch is not None
        told = events.ReportsArrived(remote, batch.upto)
        self._store(batch.ids, own=False, then=lambda: self.feed(told))

    def _store(self, ids: tuple[str, ...], *, own: bool, then: Act | None = None) -> None:
        """Write reports; they are durable after a moment, unless the daemon dies before that."""
        boots, write = self.boots, self.disk.write(ids, own=own)

        def durable() -> None:
            if not self.is_up or self.boots != boots or not self.disk.reach(write):
                return
            self.feed(events.ReportStored(len(self.disk.reports)))
            if then is not None:
                then()

        self._agenda.after(DISK_NS, durable)


class _Plans:
    """The fleet's agenda as one host sees it: what happens there is told to the daemon that runs then."""

    def __init__(self, station: Station, agenda: Planner[Act]) -> None:
        self._station = station
        self._agenda = agenda

    @property
    def now(self) -> int:
        """The simulated time, in nanoseconds."""
        return self._agenda.now

    def after(self, delay_ns: int, item: Happening) -> None:
        """Plan what happens here."""

        def act() -> None:
            event = item()
            if event is not None:
                self._station.feed(event)

        self._agenda.after(delay_ns, act)


def _nowhere(_: object) -> None:
    """A link to nobody."""
