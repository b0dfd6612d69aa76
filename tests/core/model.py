"""OTP's rules a second time, as simply as they can be said: the naive model of a supervisor.

A supervisor is an object with a list of children. It handles one message at a time, and starting or stopping
a child is an ordinary call that returns when it is done, as in supervisor.erl, whose functions are named at
each rule. That needs a world in which everything is answered at once; time passes only between messages.
Nothing is copied, cached or optimised, and nothing is shared with the core but the nouns of `model`.

What the model leaves out: readiness, heartbeats, slow stops, autostart, and two supervisors that are
busy at the same moment (real supervisors are not in step with each other either).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from supervisord_ng.model.exits import KILLED, SHUTDOWN, ExitClass, ExitReason
from supervisord_ng.model.spec import (
    AutoShutdown,
    ChildSpec,
    Restart,
    StartFailure,
    StopOrder,
    Strategy,
    SupervisorSpec,
    WorkerSpec,
)
from tests.core.model_nouns import (
    Call,
    Child,
    Exit,
    Message,
    Process,
    Retry,
    StartFailedError,
    Stop,
    World,
)


def launch(world: World, spec: ChildSpec, path: str, parent: Supervisor | None) -> Process | None:
    """A start function: the process, None for `ignore`, or StartFailedError.

    A supervisor is a process whose start function returns when its whole subtree is up.
    """
    process: Process
    if isinstance(spec, SupervisorSpec):
        process = Supervisor(world, spec, path, parent)
    else:
        process = Process(world, spec, path)
        world.say(f"start {process.name}")
    try:
        came_up = _comes_up(process)
    except StartFailedError as failed:
        world.say(f"failed {process.name}: {failed.reason.text}")
        raise
    if not came_up:
        world.say(f"ignored {process.name}")
    return process if came_up else None


def _comes_up(process: Process) -> bool:
    failures = process.world.failures.get(process.path)
    if failures:
        reason = failures.popleft()
        if reason is not None:
            raise StartFailedError(reason)
        return False
    if isinstance(process, Supervisor):
        process.boot()
    return True


class Supervisor(Process):
    """supervisor.erl."""

    spec: SupervisorSpec

    def __init__(
        self, world: World, spec: SupervisorSpec, path: str, parent: Supervisor | None
    ) -> None:
        super().__init__(world, spec, path)
        self.parent = parent
        self.simple = spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE
        children = () if self.simple else spec.children
        self.children = [Child(child, f"{path}/{child.name}") for child in children]
        self.restarts: list[int] = []
        self.mailbox: list[Message] = []
        self.held = False
        self.booted = False

    # --- init/1, start_children/2 -----------------------------------------------------------------
    def boot(self) -> None:
        """Start all children in order; the first that cannot be started ends it all."""
        self.world.say(f"start {self.name}")
        for child in list(self.children):
            try:
                self.start(child)
            except StartFailedError as failed:
                if self.spec.start_failure is StartFailure.GIVE_UP:
                    self.report("start_error", f"{child.path} undefined", failed.reason, "give_up")
                    child.rests()
                    why = f"failed_to_start_child:{child.spec.name}:{failed.reason.text}"
                    self.end(ExitReason(ExitClass.SHUTDOWN_TERM, why))
                    raise StartFailedError(self.reason or failed.reason) from failed
                self.try_again(child, None, f"{child.path} undefined", failed.reason)
                if self.reason is not None or self.spec.strategy is not Strategy.ONE_FOR_ONE:
                    return
        self.is_up()

    def is_up(self) -> None:
        """Everyone has been started: say so, once."""
        if not self.booted:
            self.booted = True
            self.world.say(f"up {self.name}")
            if self.parent is None:
                self.world.say("tree up")

    def start(self, child: Child) -> None:
        """do_start_child/2. A child that answers `ignore` is kept, but for a temporary one."""
        child.rests()
        child.pid = launch(self.world, child.spec, child.path, self)
        if child.pid is None and (self.simple or child.spec.restart is Restart.TEMPORARY):
            self.children.remove(child)

    # --- handle_info({'EXIT', ..}), do_restart/3, restart/2 ---------------------------------------
    def handle(self, message: Message) -> None:
        """One message; those of `model_calls` are handled there."""
        match message:
            case Exit(process):
                for child in self.children:
                    if child.running is process:
                        self.child_ended(child, process)
                        return
            case Retry(name):
                for child in self.children:
                    if child.spec.name == name and child.restarting:
                        self.retry(child)
                        return
            case Stop(reason):
                self.leave(reason)

    def child_ended(self, child: Child, process: Process) -> None:
        """permanent: always; transient: after a crash; temporary: never."""
        reason = process.reason
        assert reason is not None
        crashed = reason.kind in (ExitClass.KILLED, ExitClass.ABNORMAL)
        kind = child.spec.restart
        if kind is Restart.PERMANENT or (kind is Restart.TRANSIENT and crashed):
            allowed = self.count()
            decision = "restart" if allowed else "give_up"
            self.report("child_terminated", process.name, reason, decision)
            if not allowed:
                self.give_up(child)
                return
            self.first_restart(child, process)
            return
        if crashed:
            self.report("child_terminated", process.name, reason, "removed")
        child.rests()
        if self.simple or kind is Restart.TEMPORARY:
            self.children.remove(child)
        self.auto_shutdown(child)

    def auto_shutdown(self, child: Child) -> None:
        """do_auto_shutdown/2."""
        mode = self.spec.auto_shutdown
        left = [other for other in self.children if other.spec.significant and other is not child]
        left = [other for other in left if other.pid is not None or other.restarting]
        if child.spec.significant and (
            mode is AutoShutdown.ANY_SIGNIFICANT
            or (mode is AutoShutdown.ALL_SIGNIFICANT and not left)
        ):
            self.leave(SHUTDOWN)

    def count(self) -> bool:
        """add_restart/1: put one more restart into the window; whether that is still allowed."""
        self.restarts.append(self.world.now)
        return self.spec.intensity is None or self.in_window() <= self.spec.intensity

    def in_window(self) -> int:
        """How many restarts are not older than the period."""
        oldest = self.world.now - self.spec.period_ns
        return len([then for then in self.restarts if then >= oldest])

    def first_restart(self, child: Child, process: Process) -> None:
        """The restart after an end; with a back-off it is for later, the siblings stop at once."""
        backoff = child.spec.backoff if isinstance(child.spec, WorkerSpec) else None
        if backoff is not None and self.world.now - process.since >= backoff.reset_after_ns:
            child.tries = 0
        delay = self.delay(child)
        child.restarting = True
        if delay:
            self.stop_all(other for other in self.scope(child) if other is not child)
            child.due, child.counted = self.world.now + delay, True
        else:
            self.restart(child, retrying=False)

    def delay(self, child: Child) -> int:
        """The back-off of the next attempt, without jitter."""
        backoff = child.spec.backoff if isinstance(child.spec, WorkerSpec) else None
        if backoff is None:
            return 0
        child.tries += 1
        longer = backoff.initial_ns * backoff.factor ** (child.tries - 1)
        return round(min(longer, backoff.max_ns))

    def retry(self, child: Child) -> None:
        """{try_again_restart, Id}: a restart like any other, unless it was counted before its back-off."""
        if child.counted:
            self.restart(child, retrying=False)
        elif self.count():
            self.restart(child, retrying=True)
        else:
            self.give_up(child)

    def restart(self, child: Child, *, retrying: bool, hurried: Call | None = None) -> None:
        """restart/3: stop the others of the strategy's range, then start the range in order.

        A restart that an operator has `hurried` (ours) finds the others stopped already.
        """
        old = child.pid
        scope = self.scope(child)
        child.rests()
        if hurried is None:
            self.stop_all(other for other in scope if other is not child)
        for each in [left for left in scope if left in self.children and left.running is None]:
            try:
                self.start(each)
            except StartFailedError as failed:
                self.answer(hurried, f"start_failed {failed.reason.text}")
                who = f"{each.path} undefined"
                if self.is_alone() and old is not None:
                    who = f"restarting({old.name})" if retrying else old.name
                self.try_again(each, old if each is child else None, who, failed.reason)
                return
            if each is child and child.pid is not None:
                self.answer(hurried, f"ok {child.pid.name}")
                hurried = None
        self.answer(hurried, "ok")
        self.is_up()

    def answer(self, call: Call | None, answer: str) -> None:
        """Tell whoever has called."""
        if call is not None:
            self.world.say(f"reply {call.request}: {answer}")

    def is_alone(self) -> bool:
        """Whether the strategy restarts one child alone."""
        return self.spec.strategy in (Strategy.ONE_FOR_ONE, Strategy.SIMPLE_ONE_FOR_ONE)

    def scope(self, child: Child) -> list[Child]:
        """Who is restarted together with this child."""
        if self.is_alone():
            return [child]
        if self.spec.strategy is Strategy.ONE_FOR_ALL:
            return list(self.children)
        return self.children[self.children.index(child) :]

    def try_again(self, child: Child, old: Process | None, who: str, reason: ExitReason) -> None:
        """A failed restart is cast to itself, behind all that has arrived; or it is counted and waits."""
        delay = self.delay(child)
        allowed = not delay or self.count()
        self.report("start_error", who, reason, "restart" if allowed else "give_up")
        child.rests()
        child.pid, child.restarting = old, True
        if not allowed:
            self.give_up(child)
        elif delay:
            child.due, child.counted = self.world.now + delay, True
        else:
            self.mailbox.append(Retry(child.spec.name))

    def give_up(self, child: Child) -> None:
        """reached_max_restart_intensity."""
        why = ExitReason(ExitClass.ABNORMAL, "reached_max_restart_intensity")
        self.report("shutdown", child.who, why, "give_up")
        child.rests()
        self.leave(SHUTDOWN)

    # --- terminate/2, terminate_children/2, shutdown/1 --------------------------------------------
    def leave(self, reason: ExitReason) -> None:
        """End, and let the parent know by an exit signal."""
        self.end(reason)
        if self.parent is not None:
            self.parent.mailbox.append(Exit(self))

    def end(self, reason: ExitReason) -> None:
        """Stop all children, then end."""
        if self.simple:
            self.stop_instances()
        elif self.spec.stop_order is StopOrder.PARALLEL:
            self.stop_parallel()
        else:
            self.stop_all(self.children)
        self.ends(reason)
        self.refuse_calls()

    def refuse_calls(self) -> None:
        """Who has called a dead process learns what it died of."""
        for message in self.mailbox:
            if isinstance(message, Call):
                assert self.reason is not None
                self.world.say(f"reply {message.request}: noproc {self.reason.text}")
        self.mailbox.clear()

    def stop_all(self, children: Iterable[Child]) -> None:
        """One after the other, the youngest first; each is gone before the next is asked."""
        for child in reversed(list(children)):
            self.stop(child)

    def stop(self, child: Child, *, renewed: bool = False) -> None:
        """do_terminate/2. A temporary child is forgotten, of the others the specification is kept.

        One that was never started, because a boot has not come to it, or is renewed still will be (ours).
        """
        to_come = child.pid is None and not child.restarting
        if child.running is not None:
            self.order_end(child)
            self.is_stopped(child)
            bad = child.bad_end()
            if bad is not None:
                self.report("shutdown_error", child.running.name, bad, "none")
        child.rests()
        temporary = child.spec.restart is Restart.TEMPORARY and not to_come
        if (self.simple or temporary) and not renewed:
            self.children.remove(child)

    def stop_parallel(self) -> None:
        """Everyone is asked at once, then waited for in the same order (ours, not OTP's)."""
        for child in reversed(self.children):
            self.order_end(child)
        self.stop_all(self.children)

    def stop_instances(self) -> None:
        """terminate_dynamic_children/1: all at once, and bad ends reported together when all are gone."""
        bad: Counter[str] = Counter()
        for child in reversed(self.children):
            self.order_end(child)
        for child in reversed(self.children):
            if child.running is not None:
                self.is_stopped(child)
                reason = child.bad_end()
                bad.update([] if reason is None else [reason.text])
        self.children.clear()
        template = f"{self.path}/{self.spec.children[0].name}"
        for text, number in bad.items():
            what = f"report shutdown_error {number} x {template}: {text} -> none"
            self.world.say(f"{what} 0/{self.spec.intensity}")

    def order_end(self, child: Child) -> None:
        """Ask or kill a child that lives and has not been told before."""
        process = child.running
        if process is None or process.reason is not None or process.told:
            return
        process.told = True
        process.cause = None
        kill = child.spec.shutdown in ("brutal_kill", 0)
        if not (kill and isinstance(process, Supervisor)):
            self.world.say(f"{'kill' if kill else 'ask'} {process.name}")

    def is_stopped(self, child: Child) -> None:
        """A child that was told to end ends; one that was dead already has its signal taken back."""
        process = child.running
        assert process is not None
        if process.reason is not None:
            self.mailbox = [mail for mail in self.mailbox if mail != Exit(process)]
        elif isinstance(process, Supervisor) and child.spec.shutdown in ("brutal_kill", 0):
            process.die()
        elif isinstance(process, Supervisor):
            process.end(SHUTDOWN)
        elif child.spec.shutdown in ("brutal_kill", 0):
            process.is_killed()
        else:
            process.obeys()

    def die(self) -> None:
        """An untrappable kill: all below die of the broken link, unasked and unjudged."""
        orphans: list[Process] = []
        dying: list[Supervisor] = [self]
        for supervisor in dying:
            supervisor.ends(KILLED)
            for child in reversed(supervisor.children):
                process = child.running
                if process is None or process.reason is not None:
                    continue
                if isinstance(process, Supervisor):
                    dying.append(process)
                else:
                    self.world.say(f"kill {process.name}")
                    orphans.append(process)
        for orphan in orphans:
            orphan.is_killed()
        for supervisor in dying:
            supervisor.refuse_calls()

    def report(self, context: str, who: str, reason: ExitReason, decision: str) -> None:
        """report_error/4."""
        count = f"{self.in_window()}/{self.spec.intensity}"
        self.world.say(f"report {context} {who}: {reason.text} -> {decision} {count}")
