"""One simulated host: a daemon that may crash and come back, its processes, and the disk that outlives both."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

from supervisord_ng import limits
from supervisord_ng.core import effects, events, invariants
from supervisord_ng.core.machine import boot, next_deadline, step
from supervisord_ng.core.state import NodeState, Outbox
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import ParentSpec, SupervisorSpec
from supervisord_ng.sim.agenda import Agenda
from supervisord_ng.sim.faults import Faults
from supervisord_ng.sim.trace import Trace, describe
from supervisord_ng.sim.world import Happening, World

ROOMS = (1_000_000, 1_000_000, 20)  # reports that a disk holds: nearly always enough, or a few
FRAME_REPORTS_MAX = 5  # in one frame: few, so that a window is many frames
DISK_NS = 30 * limits.MS  # until what was written is durable

Plan = Callable[[int, Callable[[], None]], None]


class Batch(NamedTuple):
    """Reports on a link: their ids, and the sender's number of the last one."""

    ids: tuple[str, ...]
    after: int
    upto: int


class Disk:
    """What is durable: reports by number, how far they went up, and the incarnations that were used."""

    def __init__(self, room: int) -> None:
        self.reports: list[str] = []  # number n is at index n - 1
        self.gone: set[str] = set()  # of these, those that went for want of room
        self.dropped: set[str] = set()  # of these, those that were never sent
        self.acked = 0
        self.room = room
        self.incarnations: dict[str, int] = {}

    def store(self, ids: Iterable[str]) -> None:
        """Add reports that are not there yet; the oldest make room, sent or not."""
        known = set(self.reports)
        self.reports += [one for one in ids if one not in known]
        for number, one in enumerate(self.reports[: -self.room], start=1):
            if one not in self.gone:
                self.gone.add(one)
                if number > self.acked:
                    self.dropped.add(one)

    def kept(self, after: int, upto: int) -> tuple[str, ...]:
        """Those with numbers above `after` up to `upto` that are still there."""
        return tuple(one for one in self.reports[after:upto] if one not in self.gone)


class Station:
    """A node. `send_up` and `send_down(remote)` carry frames and batches; the fleet says where to.

    Attributes:
        lives_ended: how many lives of its root supervisor are over.
        counted: how often a restart was counted for each remote child.
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
        plan: Plan,
        now: Callable[[], int],
        trace: Trace,
    ) -> None:
        self.name = name
        self.spec = spec
        self.disk = Disk(chance.choice(ROOMS))
        self.state: NodeState | None = None
        self.send_up: Callable[[object], None] = _nowhere
        self.send_down: dict[str, Callable[[object], None]] = {}
        self.lives_ended = 0
        self.counted: dict[str, int] = {}
        self.made: list[str] = []  # ids of every report that became durable here first
        self._parent = parent
        self._chance = chance
        self._faults = faults
        self._plan = plan
        self._now = now
        self._trace = trace
        self._offered = Batch((), 0, 0)
        self._boots = 0
        self._reports = 0
        self.gather_ns = 0
        self._gathered: list[events.FrameFromChild] = []

    @property
    def is_up(self) -> bool:
        """Whether its daemon runs."""
        return self.state is not None

    def start(self) -> None:
        """The daemon comes up."""
        assert self.state is None, self.name
        self._boots += 1
        self._agenda = _Agenda(self)
        self.world = World(self._chance, self._faults, self._agenda)
        outbox = Outbox(len(self.disk.reports), self.disk.acked, self.disk.acked)
        self.state, asked = boot(
            self.spec,
            seed=self._chance.getrandbits(64),
            now=self._now(),
            incarnations=self.disk.incarnations,
            name=self.name,
            boot_id=f"{self.name}-{self._boots}",
            parent=self._parent,
            outbox=outbox,
        )
        self._do("boot", asked)
        self._answer()

    def crash(self) -> None:
        """The daemon and all its processes die; what was not durable is lost."""
        self._trace.say(f"{self._now() / limits.SECOND:.6f} {self.name}: CRASH")
        if self.state is not None and self.state.supervisors[self.state.root].alive:
            self.lives_ended += 1
        self.state = None

    def feed(self, event: events.Event) -> None:
        """Something happens to the node, if there is one."""
        if self.state is not None:
            self._step(event)
            self._answer()

    def tick_at(self) -> int | None:
        """When its core wants to be woken."""
        return None if self.state is None else next_deadline(self.state)

    def frame_from_parent(self, value: object) -> None:
        """Something came down the link."""
        self.feed(events.FrameFromParent(value))  # type: ignore[arg-type]

    def from_child(self, remote: str, value: object) -> None:
        """Something came up a link: a frame, or reports to be stored."""
        if isinstance(value, Batch):
            self._offered = value
            self.feed(events.ReportsOffered(remote, value.after, value.upto))
        else:
            frame = events.FrameFromChild(remote, value)  # type: ignore[arg-type]
            if self.gather_ns == 0:
                self.feed(frame)
                return
            if not self._gathered:
                self._plan(self.gather_ns, self._read_gathered)
            self._gathered.append(frame)

    def _read_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        self.feed(events.FramesFromChildren(tuple(gathered)))

    def calm(self, faults: Faults) -> None:
        """Nothing goes wrong in its processes from now on."""
        self._faults = faults
        if self.state is not None:
            self.world.calm()

    # --- the shell of this node ------------------------------------------------------------------
    def _answer(self) -> None:
        while self.state is not None and self.world.answers:
            self._step(self.world.answers.popleft())

    def _step(self, event: events.Event) -> None:
        assert self.state is not None
        self.state, asked = step(self.state, event, self._now())
        self._do(describe(event), asked)

    def _do(self, what: str, asked: tuple[effects.Effect, ...]) -> None:
        self._trace.step(self._now(), f"{self.name}: {what}", asked)
        assert self.state is not None
        invariants.check(self.state)
        for effect in asked:
            self._carry_out(effect)

    def _carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Spawn():
                self.disk.incarnations[effect.path] = effect.incarnation
                self.world.spawn(effect)
            case effects.AskStop():
                self.world.ask_stop(effect)
            case effects.Kill():
                self.world.kill(effect)
            case effects.Dump():
                self.world.dump(effect)
            case effects.Report():
                self._reports += 1
                self._store((f"{self.name}-{self._boots}-{self._reports}",), own=True)
            case effects.Note():
                self._note(effect)
            case effects.Halt():
                self.state = None
            case _:
                self._carry_out_on_link(effect)

    def _carry_out_on_link(self, effect: effects.Effect) -> None:
        match effect:
            case effects.SendUp(frame=frame):
                self.send_up(frame)
            case effects.SendDown(remote=remote, frame=frame):
                self.send_down[remote](frame)
            case effects.SendReports(after=after, upto=upto):
                self._send_reports(after, upto)
            case effects.TakeReports(remote=remote):
                self._take_reports(remote, self._offered)
            case effects.ReportsAcked(upto=upto):
                self.disk.acked = upto
            case _:
                pass

    def _send_reports(self, after: int, upto: int) -> None:
        """In frames of some reports each, every one of which may get lost."""
        while after < upto:
            end = min(upto, after + self._chance.randint(1, FRAME_REPORTS_MAX))
            self.send_up(Batch(self.disk.kept(after, end), after, end))
            after = end

    def _note(self, note: effects.Note) -> None:
        if note.event is EventName.EXITED and note.path == self.spec.name:
            self.lives_ended += 1
        if note.kind == "remote" and note.event is EventName.RESTARTING:
            self.counted[note.path] = self.counted.get(note.path, 0) + 1
        if note.kind != "worker":
            self.disk.incarnations[note.path] = max(
                note.incarnation, self.disk.incarnations.get(note.path, 0)
            )

    def _store(
        self, ids: tuple[str, ...], *, own: bool, then: Callable[[], None] | None = None
    ) -> None:
        """Write reports; they are durable after a moment, unless the daemon dies before that."""
        boots = self._boots

        def durable() -> None:
            if self.state is None or self._boots != boots:
                return
            self.disk.store(ids)
            if own:
                self.made += ids
            self.feed(events.ReportStored(len(self.disk.reports)))
            if then is not None:
                then()

        self._plan(DISK_NS, durable)

    def _take_reports(self, remote: str, batch: Batch) -> None:
        told = events.ReportsArrived(remote, batch.upto)
        self._store(batch.ids, own=False, then=lambda: self.feed(told))


class _Agenda(Agenda[Happening]):
    """The fleet's agenda as one life of one daemon sees it: what it planned dies with it."""

    def __init__(self, station: Station) -> None:
        super().__init__(0)
        self._station = station
        self._boots = station._boots  # noqa: SLF001 - the two are one

    def after(self, delay_ns: int, item: Happening) -> None:
        """Plan it for this life of the daemon."""
        station = self._station

        def act() -> None:
            if station.state is not None and station._boots == self._boots:  # noqa: SLF001
                event = item()
                if event is not None:
                    station.feed(event)

        station._plan(delay_ns, act)  # noqa: SLF001


def _nowhere(_: object) -> None:
    """A link to nobody."""
