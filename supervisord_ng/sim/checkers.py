"""What must hold in every history, judged from outside: by events, effects and the world's truth alone.

The state of the core is looked at by `core.invariants`, here only where a daemon goes on. A `Violation` of
safety is raised at the step that does it. Liveness, that everything comes to rest, is for `run` to judge.
"""

from __future__ import annotations

from collections.abc import Container

from supervisord_ng.core import effects, events
from supervisord_ng.core.state import NodeState
from supervisord_ng.model import names
from supervisord_ng.model.exits import HEARTBEAT_TIMEOUT
from supervisord_ng.model.reports import EventName
from supervisord_ng.model.spec import (
    ChildSpec,
    StopOrder,
    Strategy,
    WorkerSpec,
)
from supervisord_ng.sim.books import Books
from supervisord_ng.sim.world import Key


class Violation(AssertionError):
    """The core did what it must never do."""


class Checker(Books):
    """Judges one history."""

    def kept(self, healthy: list[Key], state: NodeState, removed: Container[str]) -> None:
        """A daemon goes on: whoever was known and runs is left alone, unless it has no place any more."""
        for path, number in healthy:
            if path in removed:
                continue
            child = state.supervisors[names.parent(path)].children[names.leaf(path)]
            known = child.incarnation == number and child.pid is not None
            runs = (path, number) in self._world.living()
            _must(known and runs, f"{path}: #{number} ran, and the next daemon has not kept it")

    def settled(self) -> None:
        """A daemon has been told the news. Whom nobody has missed by now nobody will."""
        for path, number in self._accounts.forgotten(self._world.processes):
            noted = {birth.incarnation for birth in self._world.births.after(path, 0)}
            _must(number not in noted, f"{path}: #{number} has come and gone, and nobody missed it")

    # --- effects ----------------------------------------
    def effect(self, effect: effects.Effect, now: int) -> None:
        """Judge what the core asks for."""
        match effect:
            case effects.Spawn():
                self._spawn(effect)
            case effects.AskStop():
                self._about_the_living(effect.path, effect.incarnation)
                self._accounts.asked((effect.path, effect.incarnation))
                self._stop_order(effect.path)
            case effects.Kill() | effects.Dump():
                self._about_the_living(effect.path, effect.incarnation)
                self._accounts.asked((effect.path, effect.incarnation))
            case effects.Note():
                self._note(effect, now)
                self._account(effect)
            case effects.Report():
                self._report(effect)
                self._account(effect)
            case effects.Forget():
                self._forgotten(effect.path)
            case effects.Reply():
                self._reply(effect)
            case effects.Reloaded():
                known = self._requests.reload_answered(effect.request)
                _must(known, "a reload is answered twice")
                self._excused.update(one.path for one in effect.failed)
            case effects.Halt():
                _must(self.halted is None, "halted twice")
                self.halted = effect
                _must(not self._world.living(), f"halted and left {self._world.living()}")

    def _spawn(self, effect: effects.Spawn) -> None:
        path, supervisor = effect.path, names.parent(effect.path)
        self._excused.discard(path)
        self._spawning.add(path)
        self._number(path, effect.incarnation)
        heirs = self._world.heirs.get(path)
        for key in self._world.living():
            if not heirs or key != (path, heirs[-1].incarnation):
                _must(key[0] != path, f"{path}: #{effect.incarnation} is started beside #{key[1]}")
        _must(path not in self._told, f"{path}: started before its predecessor is known to be gone")
        _must(self._supervisors[supervisor].alive, f"{path}: started by a dead supervisor")
        self._begin(path)

    def _number(self, path: str, incarnation: int) -> None:
        """Nobody has had this number before, but for who was started already by such an order."""
        heirs = self._world.heirs.get(path)
        if heirs:
            heir = heirs[0].incarnation
            _must(incarnation == heir, f"{path}: #{heir} is taken for #{incarnation}")
            self._accounts.claimed((path, incarnation))
            return
        last = self._world.used.get(path, 0)
        _must(incarnation > last, f"{path}: incarnation {incarnation} after {last}")

    def _begin(self, path: str) -> None:
        """A child's start begins: there must be a reason for it, and its supervisor starts no other."""
        supervisor = names.parent(path)
        by_itself = path in self._may_start
        calls = self._requests.starting(path)
        wanted = bool(calls) or self._requests.reloading
        joins = self._joins_a_restart(path)
        _must(by_itself or wanted or self._edited or joins, f"{path}: started, and nobody asked")
        if not wanted:
            self._may_start.discard(path)
        if not supervisor:
            return
        watched = self._supervisors[supervisor]
        for other in sorted(self._starting):
            # an operator's call or reload need not wait for a slow start; nothing else overtakes one
            alone = names.parent(other) != supervisor or wanted or watched.vague
            _must(alone, f"{path}: started while {other} is starting")
        self._starting.add(path)
        if wanted:
            watched.by_call.add(path)
        if by_itself and calls:
            watched.delayed.add(path)  # hurried: who goes with it may come when that is answered
        in_file = any(child.name == names.leaf(path) for child in watched.spec.children)
        known = names.leaf(path) in watched.order
        explained = known and ((by_itself and in_file) or joins)
        adding = [call for call in calls if call.op == "start_child"]
        if adding and not explained and (len(calls) == 1 or not known):
            self._added(path, adding[0])
        if names.leaf(path) not in watched.order:
            watched.order.append(names.leaf(path))
        if watched.booting and not wanted and not watched.edited:
            for younger in self._younger(path):
                early = self._exists(younger) and younger not in watched.by_call
                _must(not early, f"{path}: booted after {younger}")

    def _added(self, path: str, call: events.Call) -> None:
        """Nothing but a start_child explains this start: it is a new child, the last, by that specification."""
        self._forgotten(path)
        if call.spec is not None:
            self._learn(path, call.spec)

    def _joins_a_restart(self, path: str) -> bool:
        """A restart after a pause, or one that an operator hurries, takes its whole range along."""
        supervisor = names.parent(path)
        watched = self._supervisors.get(supervisor)
        if watched is None or watched.spec.strategy is Strategy.ONE_FOR_ONE:
            return False
        return bool(watched.delayed) or self._requests.hurries(supervisor)

    def _about_the_living(self, path: str, incarnation: int) -> None:
        if (path, incarnation) in self._found:
            return  # the core hears of them one by one
        known = self._told.get(path)
        _must(known == incarnation, f"{path}: #{incarnation} is addressed, #{known} exists")

    def _stop_order(self, path: str) -> None:
        """A supervisor that ends asks a child only when everyone started after it is gone."""
        watched = self._supervisors[names.parent(path)]
        if not watched.leaving or watched.spec.stop_order is StopOrder.PARALLEL or watched.edited:
            return
        for younger in self._younger(path):
            _must(not self._exists(younger), f"{path}: asked to stop before {younger} is gone")

    # --- what it says ----------------------------------------
    def _note(self, note: effects.Note, now: int) -> None:
        if note.kind == "supervisor":
            self._supervisor_note(note)
        elif note.event in (EventName.READY, EventName.START_FAILED) or (
            note.event is EventName.STARTED and self._is_ready_at_once(note.path)
        ):
            self._starting.discard(note.path)
        if note.event is EventName.START_FAILED and self._requests.reloading:
            self._excused.add(note.path)
        if note.event is EventName.READY and note.kind == "worker":
            process = self._world.processes[note.path, note.incarnation]
            ready = process.ready or self._is_ready_at_once(note.path)  # the file may ask for less
            _must(ready, f"{note.path}: #{note.incarnation} is said to be ready and is not")
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
                calls = self._requests.starting(note.path)
                self._begin(note.path)
                watched = self._supervisors[note.path]
                watched.boots()
                # Removed by a file and added by a call: by which specification is not followed.
                added = any(
                    call.op == "start_child" and (self._edited or call.spec != watched.spec)
                    for call in calls
                )
                above = self._supervisors.get(names.parent(note.path))
                watched.vague |= added or (above is not None and above.vague)
                watched.edited = watched.vague
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
        elif path in self._left_alone:
            self._left_alone.discard(path)
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
        count = watched.count(now)
        intensity = watched.spec.intensity
        _must(
            intensity is None or count <= intensity or watched.vague,
            f"{supervisor}: {count} restarts > {intensity}",
        )
        said = note.restarts_in_window
        _must(
            said == count or watched.vague,
            f"{supervisor}: says {said} restarts in its period, there were {count}",
        )

    def _gave_up(self, note: effects.Note, now: int) -> None:
        watched = self._supervisors[note.path]
        count = watched.in_window(now) + 1
        intensity = watched.spec.intensity
        _must(
            (intensity is not None and count > intensity) or watched.vague,
            f"{note.path}: gave up at {count} restarts",
        )

    def _report(self, report: effects.Report) -> None:
        if report.reason == HEARTBEAT_TIMEOUT and report.incarnation is not None:
            process = self._world.processes[report.path, report.incarnation]
            _must(process.hung, f"{report.path}: #{report.incarnation} beats and is said to hang")

    def _reply(self, reply: effects.Reply) -> None:
        call = self._requests.answered(reply)
        if call is None:
            raise Violation(f"request {reply.request} is answered, and nobody waits for it")
        path = names.join(call.path, call.name)
        if call.op in {"start_child", "restart_child", "renew_child"} and reply.code == "ok":
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
        elif (call.op, reply.code) in {
            ("restart_child", "start_failed"),
            ("renew_child", "start_failed"),
        }:
            self._excused.add(path)
            if call.op == "renew_child":
                self._forgotten_if_temporary(path)

    def _account(self, effect: effects.Note | effects.Report) -> None:
        wrong = self._accounts.wrong(effect)
        if wrong is not None:
            raise Violation(wrong)


def _must(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not holds:
        raise Violation(otherwise)
