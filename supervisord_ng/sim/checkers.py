"""What must hold in every history, judged from outside: by events, effects and the world's truth alone.

The state of the core is looked at by `core.invariants` only. A `Violation` of safety is raised at the step
that does it. Liveness, that everything comes to rest, is for `run` to judge.
"""

from __future__ import annotations

import msgspec

from supervisord_ng.core import effects, events
from supervisord_ng.model import names
from supervisord_ng.model.exits import HEARTBEAT_TIMEOUT
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import (
    ChildSpec,
    Restart,
    StopOrder,
    Strategy,
    SupervisorSpec,
    WorkerSpec,
)
from supervisord_ng.sim.trace import describe
from supervisord_ng.sim.world import World


class Violation(AssertionError):
    """The core did what it must never do."""


class Watched(msgspec.Struct):
    """What is known of one supervisor from what it said. `order` is the start order of its children."""

    spec: SupervisorSpec
    order: list[str]
    alive: bool = False
    booting: bool = False
    edited: bool = False  # since it boots: whom it has started stands where the file says now
    leaving: bool = False
    restarts: list[int] = []
    delayed: set[str] = set()  # children whose restart waited, or waits, for its back-off
    by_call: set[str] = set()  # children that an operator started


class Checker:
    """Books about one history."""

    def __init__(self, spec: SupervisorSpec, world: World) -> None:
        self._world = world
        self._supervisors: dict[str, Watched] = {}
        self._root = spec.name
        self._told: dict[str, int] = {}  # path -> incarnation that the core believes in
        self._starting: set[str] = set()  # children whose start has begun and not come to its end
        self._may_start: set[str] = {spec.name}  # whom a boot or a restart is going to start once
        self._last: dict[str, int] = {}  # path -> the last incarnation
        self._calls: dict[int, events.Call] = {}
        self._reloads: set[int] = set()  # that nobody has answered yet
        self._edited = (
            False  # there was one: whose start has which reason is not followed any further
        )
        self._specs: dict[str, ChildSpec] = {}
        self._excused: set[str] = (
            set()
        )  # permanent children that need not run: nobody wants them to
        self.halted: effects.Halt | None = None
        self._learn(spec.name, spec)

    def _learn(self, path: str, spec: ChildSpec) -> None:
        self._specs[path] = spec
        if isinstance(spec, SupervisorSpec):
            self._supervisors[path] = Watched(spec, [child.name for child in spec.children])
            for child in spec.children:
                self._learn(names.join(path, child.name), child)

    # --- events ----------------------------------------
    def event(self, event: events.Event) -> None:
        """Take note of what is told to the core."""
        match event:
            case events.Spawned(path=path, incarnation=incarnation):
                self._told[path] = incarnation
            case events.SpawnFailed(path=path):
                self._starting.discard(path)
            case events.Ignored(path=path):
                self._starting.discard(path)
                self._excused.add(path)
                self._gone(path)
            case events.Exited(path=path, empty=True) | events.Emptied(path=path):
                self._gone(path)
            case events.Call():
                self._calls[event.request] = event
                path = names.join(event.path, event.name)
                if event.spec is not None and path not in self._specs:
                    self._learn(path, event.spec)
            case events.Reload():
                self._reloads.add(event.request)
                self._edited = True
                self._reload(self._root, event.spec)
            case events.Stop():
                self._supervisors[self._root].leaving = True
            case _:
                pass

    def _reload(self, path: str, spec: SupervisorSpec) -> None:
        """Another specification of a supervisor. In which order its children stand now is not followed."""
        watched = self._supervisors[path]
        names_now = [child.name for child in spec.children]
        others = [name for name in watched.order if name not in names_now]
        watched.spec, watched.order, watched.edited = spec, names_now + others, True
        if spec.intensity is not None and len(watched.restarts) > spec.intensity:
            watched.restarts = watched.restarts[len(watched.restarts) - spec.intensity :]
        for child in spec.children:
            child_path = names.join(path, child.name)
            if isinstance(child, SupervisorSpec) and child_path in self._supervisors:
                self._specs[child_path] = child
                self._reload(child_path, child)
            else:
                self._learn(child_path, child)
            if isinstance(child, WorkerSpec) and not child.autostart:
                self._excused.add(child_path)

    def _gone(self, path: str) -> None:
        self._told.pop(path, None)
        if path not in self._starting:
            self._forgotten_if_temporary(path)
        self._starting.discard(path)

    def _forgotten_if_temporary(self, path: str) -> None:
        # Who is stopped by a reload keeps its place; whom a reload finds ended is forgotten when it matters.
        if self._specs[path].restart is Restart.TEMPORARY and not self._reloads:
            self._forgotten(path)

    def _forgotten(self, path: str) -> None:
        """Its supervisor keeps no specification of it; started again it will be the last."""
        order = self._supervisors[names.parent(path)].order
        if names.leaf(path) in order:
            order.remove(names.leaf(path))

    # --- effects ----------------------------------------
    def effect(self, effect: effects.Effect, now: int) -> None:
        """Judge what the core asks for."""
        match effect:
            case effects.Spawn():
                self._spawn(effect)
            case effects.AskStop():
                self._about_the_living(effect.path, effect.incarnation)
                self._stop_order(effect.path)
            case effects.Kill() | effects.Dump():
                self._about_the_living(effect.path, effect.incarnation)
            case effects.Note():
                self._note(effect, now)
            case effects.Report():
                self._report(effect)
            case effects.Reply():
                self._reply(effect)
            case effects.Reloaded():
                _must(effect.request in self._reloads, "a reload is answered twice")
                self._reloads.discard(effect.request)
                self._excused.update(one.path for one in effect.failed)
            case effects.Halt():
                _must(self.halted is None, "halted twice")
                self.halted = effect
                _must(not self._world.living(), f"halted and left {self._world.living()}")

    def _spawn(self, effect: effects.Spawn) -> None:
        path, supervisor = effect.path, names.parent(effect.path)
        self._excused.discard(path)
        last = self._last.get(path, 0)
        _must(effect.incarnation > last, f"{path}: incarnation {effect.incarnation} after {last}")
        self._last[path] = effect.incarnation
        for key in self._world.living():
            _must(key[0] != path, f"{path}: #{effect.incarnation} is started beside #{key[1]}")
        _must(path not in self._told, f"{path}: started before its predecessor is known to be gone")
        _must(self._supervisors[supervisor].alive, f"{path}: started by a dead supervisor")
        self._begin(path)

    def _begin(self, path: str) -> None:
        """A child's start begins: there must be a reason for it, and its supervisor starts no other."""
        supervisor = names.parent(path)
        by_itself = path in self._may_start
        wanted = bool(self._wanted(path) or self._reloads)
        _must(
            by_itself or wanted or self._edited or self._joins_a_restart(path),
            f"{path}: started, and nobody asked",
        )
        if not wanted:
            self._may_start.discard(path)
        if not supervisor:
            return
        for other in sorted(self._starting):
            # an operator's call or reload need not wait for a slow start; nothing else overtakes one
            alone = names.parent(other) != supervisor or wanted
            _must(alone, f"{path}: started while {other} is starting")
        self._starting.add(path)
        watched = self._supervisors[supervisor]
        if wanted:
            watched.by_call.add(path)
        in_file = any(child.name == names.leaf(path) for child in watched.spec.children)
        if not (by_itself and in_file) and self._wanted(path) == ["start_child"]:
            self._added(path)
        if names.leaf(path) not in watched.order:
            watched.order.append(names.leaf(path))
        if watched.booting and not wanted and not watched.edited:
            for younger in self._younger(path):
                early = self._exists(younger) and younger not in watched.by_call
                _must(not early, f"{path}: booted after {younger}")

    def _added(self, path: str) -> None:
        """Nothing but a start_child explains this start: it is a new child, the last, by that specification."""
        self._forgotten(path)
        for call in self._calls.values():
            if call.spec is not None and names.join(call.path, call.name) == path:
                self._learn(path, call.spec)

    def _joins_a_restart(self, path: str) -> bool:
        """A restart after a pause, or one that an operator hurries, takes its whole range along."""
        supervisor = names.parent(path)
        watched = self._supervisors.get(supervisor)
        if watched is None or watched.spec.strategy is Strategy.ONE_FOR_ONE:
            return False
        hurried = any(call.now and call.path == supervisor for call in self._calls.values())
        return bool(watched.delayed) or hurried

    def _wanted(self, path: str) -> list[str]:
        """The calls that are waiting for this child to start."""
        return [
            call.op
            for call in self._calls.values()
            if call.op in {"start_child", "restart_child"}
            and names.join(call.path, call.name) == path
        ]

    def _about_the_living(self, path: str, incarnation: int) -> None:
        known = self._told.get(path)
        _must(known == incarnation, f"{path}: #{incarnation} is addressed, #{known} exists")

    def _stop_order(self, path: str) -> None:
        """A supervisor that ends asks a child only when everyone started after it is gone."""
        watched = self._supervisors[names.parent(path)]
        if not watched.leaving or watched.spec.stop_order is StopOrder.PARALLEL or watched.edited:
            return
        for younger in self._younger(path):
            _must(not self._exists(younger), f"{path}: asked to stop before {younger} is gone")

    def _younger(self, path: str) -> list[str]:
        supervisor = names.parent(path)
        order = self._supervisors[supervisor].order
        at = order.index(names.leaf(path))
        return [names.join(supervisor, name) for name in order[at + 1 :]]

    def _exists(self, path: str) -> bool:
        watched = self._supervisors.get(path)
        return path in self._told or (watched is not None and watched.alive)

    # --- what it says ----------------------------------------
    def _note(self, note: effects.Note, now: int) -> None:
        if note.kind == "supervisor":
            self._supervisor_note(note)
        elif note.event in (EventName.READY, EventName.START_FAILED) or (
            note.event is EventName.STARTED and self._is_ready_at_once(note.path)
        ):
            self._starting.discard(note.path)
        if note.event is EventName.READY and note.kind == "worker":
            process = self._world.processes[note.path, note.incarnation]
            _must(process.ready, f"{note.path}: #{note.incarnation} is said to be ready and is not")
        if note.event is EventName.RESTARTING:
            self._restarting(note, now)
        elif note.event is EventName.GAVE_UP:
            self._gave_up(note, now)

    def _is_ready_at_once(self, path: str) -> bool:
        spec = self._specs[path]
        return isinstance(spec, WorkerSpec) and spec.ready.kind == "exec"

    def _supervisor_note(self, note: effects.Note) -> None:
        watched = self._supervisors[note.path]
        match note.event:
            case EventName.STARTING:
                self._begin(note.path)
                watched = self._supervisors[note.path]
                watched.alive = watched.booting = True
                watched.leaving = watched.edited = False
                watched.restarts = []
                watched.delayed = set()
                watched.by_call = set()
                watched.order = [child.name for child in watched.spec.children]
                for child in watched.spec.children:
                    child_path = names.join(note.path, child.name)
                    if (
                        self._specs[child_path] != child
                    ):  # it was added with another, and is forgotten
                        self._learn(child_path, child)
                    self._boots(child_path, child)
            case EventName.STARTED:
                watched.booting = False
                self._starting.discard(note.path)
            case EventName.STOPPING:
                watched.leaving = True
                if note.path != self._root:
                    self._stop_order(note.path)
            case EventName.GAVE_UP:
                watched.leaving = True
            case EventName.EXITED | EventName.START_FAILED:
                watched.alive = watched.booting = False
                if note.path != self._root and note.event is EventName.EXITED:
                    self._gone(note.path)
                self._starting.discard(note.path)
                for name in watched.order:
                    self._may_start.discard(names.join(note.path, name))
            case _:
                pass

    def _boots(self, path: str, spec: ChildSpec) -> None:
        if isinstance(spec, WorkerSpec) and not spec.autostart:
            self._excused.add(path)
        else:
            self._may_start.add(path)

    def _restarting(self, note: effects.Note, now: int) -> None:
        """An automatic restart, of one child and those that its strategy takes along."""
        supervisor = names.parent(note.path)
        watched = self._supervisors[supervisor]
        for name in (names.leaf(note.path), *note.with_siblings):
            self._may_start.add(names.join(supervisor, name))
        if note.delay_ns:
            watched.delayed.add(note.path)
        else:
            watched.delayed.discard(note.path)
        watched.restarts = [*self._kept(watched, now), now]
        count = self._in_window(watched, now)
        intensity = watched.spec.intensity
        _must(
            intensity is None or count <= intensity, f"{supervisor}: {count} restarts > {intensity}"
        )
        said = note.restarts_in_window
        _must(
            said == count, f"{supervisor}: says {said} restarts in its period, there were {count}"
        )

    def _gave_up(self, note: effects.Note, now: int) -> None:
        watched = self._supervisors[note.path]
        count = self._in_window(watched, now) + 1
        intensity = watched.spec.intensity
        _must(
            intensity is not None and count > intensity, f"{note.path}: gave up at {count} restarts"
        )

    def _kept(self, watched: Watched, now: int) -> list[int]:
        """The restarts that count at `now`; what was too old once does not count under a longer period."""
        return [then for then in watched.restarts if then >= now - watched.spec.period_ns]

    def _in_window(self, watched: Watched, now: int) -> int:
        return len(self._kept(watched, now))

    def _report(self, report: effects.Report) -> None:
        if report.reason == HEARTBEAT_TIMEOUT and report.incarnation is not None:
            process = self._world.processes[report.path, report.incarnation]
            _must(process.hung, f"{report.path}: #{report.incarnation} beats and is said to hang")

    def _reply(self, reply: effects.Reply) -> None:
        call = self._calls.pop(reply.request, None)
        if call is None:
            raise Violation(f"request {reply.request} is answered, and nobody waits for it")
        path = names.join(call.path, call.name)
        if call.op in {"start_child", "restart_child"} and reply.code == "ok":
            self._starting.discard(path)
        if call.op == "terminate_child" and reply.code == "ok":
            self._may_start.discard(path)
            _must(not self._exists(path), f"{path}: said to be terminated")
            # those stopped for its restart, which is off now, stay down as in OTP
            siblings = (path for path in self._specs if names.parent(path) == call.path)
            self._excused.add(path)
            self._forgotten_if_temporary(path)
            self._excused.update(sibling for sibling in siblings if not self._exists(sibling))
        elif (call.op, reply.code) in {("delete_child", "ok"), ("start_child", "start_failed")}:
            self._forgotten(path)
        elif call.op == "restart_child" and reply.code == "start_failed":
            self._excused.add(path)

    def has_to_run(self, path: str) -> bool:
        """Whether a child whose supervisor runs has to run too: permanent, and nobody stopped it."""
        return (
            path in self._specs
            and self._specs[path].restart is Restart.PERMANENT
            and (path not in self._excused)
        )

    def specs(self) -> list[ChildSpec]:
        """Every specification there ever was."""
        return list(self._specs.values())

    def unanswered(self) -> list[str]:
        """The calls and reloads that nobody has answered yet, as words."""
        reloads = [f"reload {request}" for request in sorted(self._reloads)]
        return [*map(describe, self._calls.values()), *reloads]


def _must(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not holds:
        raise Violation(otherwise)
