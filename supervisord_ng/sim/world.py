"""A pretend operating system: processes that start, get ready, beat, crash, hang, obey or do not.

Takes the core's effects about workers and plans what comes of them; what has happened comes back as events.
Every decision is drawn from the seed when it is needed. The world knows the truth (who is alive, who hangs),
which `checkers` compares with what the core does.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Container

import msgspec

from supervisord_ng import limits
from supervisord_ng.core import effects, events
from supervisord_ng.model.exits import (
    LIVENESS,
    SIGKILL,
    UNKNOWN,
    ExitReason,
    ExitStatus,
    start_failed,
)
from supervisord_ng.model.spec import WorkerSpec
from supervisord_ng.sim.agenda import Planner
from supervisord_ng.sim.births import Birth, Births
from supervisord_ng.sim.faults import NONE, Faults

Key = tuple[str, int]
"""A worker: its path and its incarnation."""

LIFE_NS = 10 * limits.SECOND  # a process that crashes or hangs does so within this time
REACTION_NS = 300 * limits.MS  # of a process to a signal
DELAY_NS = 2 * limits.SECOND  # of what comes late: an event, the end of what a worker left behind
LISTENS_NS = limits.SECOND  # until a worker has found the next daemon: the SDK tries once a second
KILL_NS = 3 * limits.KILL_RESEND_NS  # the longest that a process survives SIGKILL
SIGSEGV = 11


class Process(msgspec.Struct):
    """A worker as it really is. `main` and `rest` say whether these live; `hung`: it beats no more."""

    key: Key
    spec: WorkerSpec
    pid: int
    adopted: bool = False  # how it ends is told to nobody
    main: bool = True
    rest: bool = False
    ready: bool = False
    hung: bool = False
    dying: bool = False  # SIGKILL has been sent
    unanswered: bool = False  # asked to stop without limit, and deaf

    @property
    def exists(self) -> bool:
        """Whether anything of it is left."""
        return self.main or self.rest


Happening = Callable[[], events.Event | None]
"""Something planned: what it does to the world, and the event that the daemon sees of it, if any."""


class World:
    """All processes, and what is going to happen to them."""

    def __init__(self, chance: random.Random, faults: Faults, agenda: Planner[Happening]) -> None:
        self._chance = chance
        self._agenda = agenda
        self.faults = faults
        self.processes: dict[Key, Process] = {}  # every one there ever was
        self.answers: deque[events.Event] = deque()  # to `Spawn`, to be given before anything else
        self.news: deque[events.Event] = deque()  # for a daemon that begins
        self.births = Births()
        self.used: dict[str, int] = {}  # the last incarnation number, by path
        self.heirs: dict[str, list[Birth]] = {}  # who answers the next `Spawn`s, by path
        self._pid = 1

    def calm(self) -> None:
        """From now on nothing goes wrong any more; what is wrong already stays so."""
        self.faults = NONE
        for process in self.processes.values():
            if process.main and process.unanswered:
                self._plan_end(process, ExitStatus(code=0), REACTION_NS)

    def living(self) -> list[Key]:
        """Everyone of whom something is left."""
        return [key for key, process in self.processes.items() if process.exists]

    def hanging(self) -> list[Key]:
        """Everyone who is to beat and does not any more."""
        return [
            key
            for key, process in self.processes.items()
            if process.main and process.hung and process.spec.heartbeat is not None
        ]

    # --- effects ----------------------------------------
    def spawn(self, effect: effects.Spawn, moment: Callable[[], None] = lambda: None) -> None:
        """Answer at once; whether it becomes ready, beats, crashes or hangs comes later.

        `moment` is called between one thing and the next; when it raises, the daemon was killed there.
        """
        key = (effect.path, effect.incarnation)
        if heirs := self.heirs.get(effect.path):
            self._succeeds(effect, heirs.pop(0))
            return
        self.used[effect.path] = effect.incarnation
        self.births.note(effect.path, Birth(effect.incarnation))
        moment()
        if self._strikes(self.faults.spawn_fails):
            self.answers.append(events.SpawnFailed(*key, start_failed("ENOENT")))
            return
        if self._strikes(self.faults.ignores):
            self.answers.append(events.Ignored(*key))
            return
        self._pid += 1
        process = Process(key, effect.spec, self._pid)
        self.processes[key] = process
        self._plan_life(process)
        moment()
        self.births.note(effect.path, Birth(effect.incarnation, self._pid))
        self.answers.append(events.Spawned(*key, self._pid))

    def ask_stop(self, effect: effects.AskStop) -> None:
        """The stop signal. A process obeys, ends otherwise, or does not care."""
        process = self.processes.get((effect.path, effect.incarnation))
        if process is None:
            return  # of an heir of whom nothing is left
        if self._strikes(self.faults.deaf):
            process.unanswered = effect.grace_ns is None
            if effect.grace_ns is not None or process.main:
                return
        if not process.main:
            self._plan(REACTION_NS, lambda: self._rest_ends(process))
        elif self._strikes(self.faults.ends_badly):
            self._plan_end(process, ExitStatus(code=7), REACTION_NS)
        else:
            good = [ExitStatus(code=0), ExitStatus(signal=effect.signal), ExitStatus(code=143)]
            self._plan_end(process, self._chance.choice(good), REACTION_NS)

    def kill(self, effect: effects.Kill) -> None:
        """SIGKILL to everything that is left of it."""
        process = self.processes.get((effect.path, effect.incarnation))
        if process is None or (process.dying and process.main):
            return  # once is enough: it goes when the kernel lets it
        process.dying = True
        most = KILL_NS if self._strikes(self.faults.survives_kill) else limits.MS
        if process.main:
            self._plan_end(process, ExitStatus(signal=SIGKILL), most)
        else:
            self._plan(most, lambda: self._rest_ends(process))

    def dump(self, effect: effects.Dump) -> None:
        """Its stacks are asked for; it answers, or does not."""
        if not self._strikes(self.faults.keeps_stacks):
            answer = events.Dumped(effect.path, effect.incarnation)
            self._plan(REACTION_NS, lambda: self._repeated(answer))

    # --- the daemon was killed ----------------------------------------
    def lives(self, path: str, birth: Birth) -> bool:
        """Whether this main process is there."""
        process = self.processes.get((path, birth.incarnation))
        return process is not None and process.main and process.pid == birth.pid

    def adopt(self, path: str, birth: Birth, spec: WorkerSpec) -> bool:
        """A daemon takes over who runs, if it does."""
        if not self.lives(path, birth):
            return False
        process = self.processes[path, birth.incarnation]
        process.adopted, process.spec = True, spec
        if spec.ready.kind == "exec":
            process.ready = True
        elif spec.ready.kind == "heartbeat":  # the SDK says it to whoever listens
            self._plan(LISTENS_NS, lambda: self._says_ready_again(process))
        return True

    def newest(self) -> dict[str, Birth]:
        """The last incarnation of each worker that is seen to run."""
        running = sorted(process.key for process in self.processes.values() if process.main)
        return {
            path: Birth(number, self.processes[path, number].pid)
            for path, number in running  # the later one wins
        }

    def end_leftovers(self, kept: Container[Key]) -> list[Key]:
        """SIGKILL to everyone but those kept; at once they are gone, and nobody is told."""
        left = [key for key in self.living() if key not in kept]
        for key in left:
            self.processes[key].main = self.processes[key].rest = False
        return left

    def daemon_killed(self, likely: float) -> None:
        """Nobody looks: what was on its way is lost, and as likely as this somebody dies."""
        self.answers.clear()
        self.news.clear()
        self.heirs = {}
        for process in self.processes.values():
            if process.main and self._strikes(likely):
                self._main_ends(process, ExitStatus(code=1))

    def host_crashed(self) -> None:
        """Everybody is gone at once, and the notes of starts with them."""
        self.end_leftovers(())
        self.daemon_killed(0.0)
        self.births = Births()

    def _succeeds(self, effect: effects.Spawn, heir: Birth) -> None:
        """Somebody was started already by such an order; if it has ended since, that is news."""
        key = (effect.path, effect.incarnation)
        self.answers.append(events.Spawned(*key, heir.pid))
        if not self.adopt(effect.path, heir, effect.spec):
            self.news.append(events.Exited(*key, UNKNOWN))

    def _says_ready_again(self, process: Process) -> events.Event | None:
        return events.BecameReady(*process.key) if process.main and process.ready else None

    # --- a process's life ----------------------------------------
    def _plan_life(self, process: Process) -> None:
        spec = process.spec
        soon = spec.ready_timeout_ns // 2
        if spec.ready.kind == "exit":
            code = 1 if self._strikes(self.faults.ends_before_ready) else 0
            process.ready = code == 0  # its good end is its readiness
            if not self._strikes(self.faults.never_ready):
                self._plan_end(process, ExitStatus(code=code), soon)
            return
        if spec.ready.kind == "exec":
            process.ready = True
        elif self._strikes(self.faults.ends_before_ready):
            self._plan_end(process, ExitStatus(code=1), soon)
        elif not self._strikes(self.faults.never_ready):
            self._plan(soon, lambda: self._becomes_ready(process))
        if spec.heartbeat is not None:
            self._plan_beat(process)
        if self._strikes(self.faults.crashes):
            ends = [ExitStatus(code=1), ExitStatus(signal=SIGSEGV), ExitStatus(signal=SIGKILL)]
            self._plan_fault(process, lambda: self._main_ends(process, self._chance.choice(ends)))
        if self._strikes(self.faults.ends_well):
            self._plan_fault(process, lambda: self._main_ends(process, ExitStatus(code=0)))
        if self._strikes(self.faults.hangs):
            self._plan_fault(process, lambda: self._hangs(process))
        if self._strikes(self.faults.fails_probe):
            event = events.Unresponsive(*process.key, LIVENESS)
            self._plan_fault(process, lambda: self._repeated(event))

    def _becomes_ready(self, process: Process) -> events.Event | None:
        if not process.main:
            return None
        process.ready = True
        return self._repeated(events.BecameReady(*process.key))

    def _plan_beat(self, process: Process) -> None:
        heartbeat = process.spec.heartbeat
        assert heartbeat is not None
        self._agenda.after(heartbeat.interval_ns, lambda: self._beats(process))

    def _beats(self, process: Process) -> events.Event | None:
        if not process.main or process.hung:
            return None
        self._plan_beat(process)
        if not process.ready:
            return None
        return self._repeated(events.Beats((events.Beat(*process.key),)))

    def _hangs(self, process: Process) -> None:
        process.hung = True

    def _main_ends(self, process: Process, how: ExitStatus) -> events.Event | None:
        if not process.main:
            return None
        process.main = False
        process.rest = self._strikes(self.faults.leaves_rest)
        if process.rest:
            self._plan(DELAY_NS, lambda: self._rest_ends(process))
        told: ExitStatus | ExitReason = UNKNOWN if process.adopted else how
        return events.Exited(*process.key, told, empty=not process.rest)

    def _rest_ends(self, process: Process) -> events.Event | None:
        if not process.rest:
            return None
        process.rest = False
        return events.Emptied(*process.key)

    # --- planning ----------------------------------------
    def _strikes(self, likely: float) -> bool:
        return likely > 0 and self._chance.random() < likely

    def _plan(self, most_ns: int, happening: Happening) -> None:
        self._agenda.after(self._chance.randint(0, most_ns), happening)

    def _plan_end(self, process: Process, how: ExitStatus, most_ns: int) -> None:
        self._plan(most_ns, lambda: self._main_ends(process, how))

    def _plan_fault(self, process: Process, happening: Happening) -> None:
        """Something that goes wrong within its life, unless calm comes or it is over before that."""

        def strike() -> events.Event | None:
            return happening() if process.main and self.faults is not NONE else None

        self._plan(LIFE_NS, strike)

    def _repeated(self, event: events.Event) -> events.Event:
        """Let an event arrive once more, perhaps when its incarnation is history."""
        if self._strikes(self.faults.late_word):
            self._plan(DELAY_NS, lambda: event)
        return event
