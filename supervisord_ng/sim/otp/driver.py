"""The commands of a scenario: each is done to core and fakes, then all runs until quiet.

"Quiet" is the oracle's: nothing is answered, dies or times out any more. While something is on its
way that will end (a slow worker, a shutdown time) the clock jumps to it; otherwise only ``sleep``,
``align`` and ``at`` move it. Calls to a supervisor that is held are answered when it is released.
"""

from __future__ import annotations

from supervisord_ng import limits
from supervisord_ng.core import effects, events
from supervisord_ng.core.machine import boot, next_deadline, step
from supervisord_ng.core.state import NodeState
from supervisord_ng.model import names
from supervisord_ng.model.exits import KILLED, ExitReason
from supervisord_ng.model.reports import EventName
from supervisord_ng.sim.agenda import Agenda
from supervisord_ng.sim.otp import validation
from supervisord_ng.sim.otp.calls import Calls, Question
from supervisord_ng.sim.otp.fakes import Answer, Death, Fakes, Happening
from supervisord_ng.sim.otp.roster import Handle, Roster
from supervisord_ng.sim.otp.scenario import DECLARATIONS, Book, statements
from supervisord_ng.sim.otp.specs import supervisor_spec
from supervisord_ng.sim.otp.terms import raised, reason_from_word, reason_term
from supervisord_ng.sim.otp.trace import Trace

STEPS_MAX = 1_000_000  # of one command; more is a scenario, or a core, that never comes to rest


class Driver:
    """Plays one scenario."""

    def __init__(self, text: str) -> None:
        self._statements = statements(text)
        self._book = Book()
        self._roster = Roster()
        self._trace = Trace(self._book, self._roster)
        self._agenda: Agenda[Happening] = Agenda(limits.SECOND)
        self._fakes = Fakes(self._book, self._roster, self._agenda, self._trace.say)
        self._state: NodeState | None = None
        self._root = ""
        self._halted: ExitReason | None = None
        self._aligned = 0  # T0 of `at`
        self._behind = 0  # nanoseconds by which the core's clock is behind, see `_read_clock`
        self._told = 0  # the core's time at its last step
        self._held: set[Handle] = set()
        self._results: list[str] = []  # of the command that is being done, printed last
        self._calls = Calls(self._book, self._roster, self._trace)
        self._waiting: list[tuple[Handle, Question]] = []  # calls whose answer is not printed yet
        self._replies: dict[int, effects.Reply] = {}

    def play(self) -> str:
        """Do every line in order and return the trace."""
        for words in self._statements:
            if words[0] in DECLARATIONS:
                self._book.read(words)
                continue
            self._trace.say(f"> {' '.join(words)}")
            self._read_clock()
            self._command(words)
            self._settle()
            self._print_results()
        return self._trace.text()

    def _command(self, words: list[str]) -> None:
        match words:
            case ["boot"]:
                self._boot()
            case ["stop", *reason]:
                self._feed(events.Stop(reason_from_word(reason[0] if reason else "shutdown")))
            case ["exit", name, reason]:
                self._exit(name, reason)
            case ["kill" | "signal", name, *reason]:
                self._signal(name, reason[0] if reason else "kill")
            case ["fail", name, count, mode, *reason]:
                self._fakes.fail(name, int(count), mode, reason[0] if reason else "failed")
                self._refuse(name)
            case ["behave", name, stop]:
                self._fakes.behave(name, stop)
            case ["hold", name]:
                self._hold(self._handle(name))
            case ["release", name]:
                self._release(self._handle(name))
            case ["sleep" | "align" | "at", *_]:
                self._pass_time(words)
            case _:
                self._api(words)

    # --- the tree ----------------------------------------
    def _boot(self) -> None:
        declared = self._book.root()
        error = self._first_error()
        if error is not None:
            self._trace.say(f"starting {declared.name}")
            self._trace.say(f"start_failed {declared.name} reason={error}")
            self._results.append(f"result {{error,{error}}}")
            return
        self._roster.forget_paths()
        self._agenda.clear()
        self._halted = None
        self._root = declared.id
        refuse = tuple(self._bind(declared.name, declared.id))
        spec = supervisor_spec(self._book, declared)
        self._state, happened = boot(spec, seed=0, now=self._now(), refuse=refuse)
        self._perform(happened)
        self._settle()
        self._results.append(self._boot_result(declared.name))

    def _boot_result(self, root: str) -> str:
        if self._halted is None:
            return f"result {{ok,{self._handle(root)}}}"
        return f"result {{error,{reason_term(self._halted)}}}"

    def _first_error(self) -> str | None:
        for declared in self._book.declarations.values():
            if declared.kind == "sup":
                error = validation.supervisor_error(self._book, declared)
                if error is not None:
                    return error
        return None

    def _bind(self, name: str, path: str) -> list[events.Refuse]:
        """Tell the roster the paths of a declared child and of everything declared below it.

        Returns the starts of these supervisors that are to fail, which the core has to know beforehand.
        """
        self._roster.bind(path, name)
        refused = self._refusals(name, path)
        for child in self._book.children(name):
            refused += self._bind(child.name, names.join(path, child.id))
        return refused

    def _refuse(self, name: str) -> None:
        path = self._roster.path(name)
        if self._state is not None and path is not None:
            for refusal in self._refusals(name, path):
                self._feed(refusal)

    def _refusals(self, name: str, path: str) -> list[events.Refuse]:
        """Supervisors are started by the core: hand over the failures that wait for this one."""
        refused = []
        while self._book.is_supervisor(name):
            failure = self._fakes.next_failure(name)
            if failure is None:
                break
            reason = raised(failure.reason) if failure.mode == "raise" else failure.reason
            refused.append(events.Refuse(path, None if failure.mode == "ignore" else reason))
        return refused

    def _exit(self, name: str, word: str) -> None:
        handle = self._handle(name)
        if self._roster.is_alive(handle):
            self._agenda.soon(Death(handle.path, handle.incarnation, reason_from_word(word)))

    def _signal(self, name: str, word: str) -> None:
        """An exit signal from a stranger; everybody traps them, only `kill` cannot be trapped."""
        handle = self._handle(name)
        if not self._roster.is_alive(handle):
            return
        if handle.path == self._root and word != "kill":
            self._feed(events.Stop(reason_from_word(word)))  # the driver is the root's parent
        elif word != "kill":
            return
        elif self._book.is_supervisor(name):
            self._feed(events.Kill(handle.path))
        else:
            self._agenda.soon(Death(handle.path, handle.incarnation, KILLED, own=False))

    def _hold(self, handle: Handle) -> None:
        self._held.add(handle)
        self._feed(events.Suspend(handle.path))

    def _release(self, handle: Handle) -> None:
        self._held.discard(handle)
        self._feed(events.Resume(handle.path))

    def _handle(self, name: str) -> Handle:
        handle = self._roster.last(name)
        if handle is None:
            raise ValueError(f"cannot go on: {name} has never been started")
        return handle

    # --- time ----------------------------------------
    def _read_clock(self) -> None:
        """Give the core the time in whole seconds, as supervisor.erl reads it.

        The core's own arithmetic is exact and the daemon gives it nanoseconds; with the oracle's
        clock it has to come to the oracle's decisions. Shutdown times, shorter than a second, run
        on from there.
        """
        now = self._agenda.now
        self._behind = max(0, min(now % limits.SECOND, now - self._told))

    def _now(self) -> int:
        return self._agenda.now - self._behind

    def _pass_time(self, words: list[str]) -> None:
        match words:
            case ["sleep", milliseconds]:
                until = self._agenda.now + int(milliseconds) * limits.MS
            case ["at", milliseconds]:
                until = self._aligned + int(milliseconds) * limits.MS
            case _:
                until = (self._agenda.now // limits.SECOND + 1) * limits.SECOND
                self._aligned = until
        self._settle()
        self._agenda.pass_to(until)

    def _settle(self) -> None:
        """Let everything happen that is on its way, jumping over the time between."""
        for _ in range(STEPS_MAX):
            due = self._agenda.next_at()
            deadline = None if self._state is None else next_deadline(self._state)
            if due is not None and (deadline is None or due <= deadline + self._behind):
                self._happen(self._agenda.take())
            elif deadline is not None:
                self._agenda.pass_to(deadline + self._behind)
                self._feed(events.Tick())
            else:
                return
        raise AssertionError(f"no rest after {STEPS_MAX} steps")

    def _happen(self, item: Happening) -> None:
        if isinstance(item, Answer):
            self._feed(item.event)
        else:
            exited = self._fakes.die(item)
            if exited is not None:
                self._feed(exited)

    # --- the core ----------------------------------------
    def _feed(self, event: events.Event) -> None:
        assert self._state is not None, f"nothing has been booted: {event!r}"
        self._told = self._now()
        self._state, happened = step(self._state, event, self._told)
        self._perform(happened)

    def _perform(self, happened: tuple[effects.Effect, ...]) -> None:
        for effect in happened:
            match effect:
                case effects.Spawn():
                    self._fakes.spawn(effect)
                case effects.AskStop():
                    self._fakes.ask_stop(effect)
                case effects.Kill():
                    self._fakes.kill(effect)
                case effects.Report():
                    self._trace.report(effect)
                case effects.Note():
                    self._note(effect)
                case effects.Reply():
                    self._replies[effect.request] = effect
                case effects.Halt():
                    self._halted = effect.reason
                case effects.Dump() | effects.TreeUp():
                    pass

    def _note(self, note: effects.Note) -> None:
        if note.kind == "supervisor" and note.event is EventName.STARTING:
            self._fakes.supervisor_starts(note.path)
        if note.kind == "supervisor" and note.event is EventName.EXITED and note.reason == KILLED:
            self._fakes.supervisor_killed(note.path)
        self._trace.note(note)

    # --- calls ----------------------------------------
    def _api(self, words: list[str]) -> None:
        """Ask a supervisor; the answer is printed last, or when it is released."""
        supervisor = self._roster.last(words[1])
        if supervisor is None or not self._roster.is_alive(supervisor):
            self._results.append("result {exit,noproc}")
            return
        question = self._calls.question(words, supervisor)
        if words[0] == "start_child" and self._book.is_supervisor(words[2]):
            for refusal in self._bind(words[2], names.join(supervisor.path, words[2])):
                self._feed(refusal)
        for call in question.calls:
            self._feed(call)
        self._waiting.append((supervisor, question))

    def _print_results(self) -> None:
        for result in self._results:
            self._trace.say(result)
        self._results.clear()
        later = []
        for supervisor, question in self._waiting:
            if supervisor in self._held:
                later.append((supervisor, question))
            else:
                replies = [self._replies.pop(call.request) for call in question.calls]
                self._trace.say(question.render(replies))
        self._waiting = later
