"""Calls to a supervisor: from a command to what the core is asked, and from its replies to a line.

Where the core has no such call (get_childspec), knows no pids, or must not see a specification that
supervisor(3) refuses, a call that changes nothing takes its place: so it still waits its turn in
the mailbox and still finds out that the supervisor is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from msgspec.structs import replace

from supervisord_ng.core import effects
from supervisord_ng.core.events import Call
from supervisord_ng.model import names
from supervisord_ng.sim.otp.roster import Handle, Roster
from supervisord_ng.sim.otp.scenario import Book, Declaration
from supervisord_ng.sim.otp.specs import child_spec
from supervisord_ng.sim.otp.trace import Trace
from supervisord_ng.sim.otp.validation import child_error

Op = Literal[
    "start_child",
    "terminate_child",
    "restart_child",
    "delete_child",
    "which_children",
    "count_children",
]
Render = Callable[[Sequence[effects.Reply]], str]


class Question(NamedTuple):
    """What the core is asked, and how its replies (in the order of the calls) are printed."""

    calls: tuple[Call, ...]
    render: Render


class Calls:
    """Makes questions out of commands."""

    def __init__(self, book: Book, roster: Roster, trace: Trace) -> None:
        self._book = book
        self._roster = roster
        self._trace = trace
        self._requests = 0
        self._instances: dict[str, int] = {}  # how often start_child was called with this name

    def question(self, words: list[str], supervisor: Handle) -> Question:
        """What the command `words` asks this supervisor."""
        match words:
            case ["which", _]:
                return self._which(supervisor)
            case ["count", _]:
                return self._count(supervisor)
            case ["start_child", _, name] if self._book.is_simple(supervisor.name):
                return self._start_instance(supervisor, name)
            case ["start_child", _, name]:
                return self._start_child(supervisor, self._book.declarations[name])
            case ["code_change", _]:
                return self._refused(supervisor, "not_supported")
            case ["get_childspec", _, reference]:
                return self._get_childspec(supervisor, reference)
            case [("terminate_child" | "restart_child" | "delete_child") as op, _, reference]:
                return self._about_child(supervisor, op, reference)
            case _:
                raise ValueError(f"cannot do the command: {' '.join(words)}")

    # --- queries ----------------------------------------
    def _which(self, supervisor: Handle) -> Question:
        def render(replies: Sequence[effects.Reply]) -> str:
            if replies[0].children is None:
                return self._trace.result(supervisor.path, replies[0], "which_children")
            return self._trace.which(supervisor.name, supervisor.path, replies[0].children)

        return Question((self._call(supervisor, "which_children"),), render)

    def _count(self, supervisor: Handle) -> Question:
        def render(replies: Sequence[effects.Reply]) -> str:
            counts, children = replies[0].counts, replies[1].children
            if counts is None or children is None:
                return self._trace.result(supervisor.path, replies[0], "count_children")
            return self._trace.count(supervisor.name, counts, children)

        count = self._call(supervisor, "count_children")
        return Question((count, self._call(supervisor, "which_children")), render)

    def _get_childspec(self, supervisor: Handle, reference: str) -> Question:
        """The core keeps specifications to itself; what it says is whether the child is known.

        simple_one_for_one knows its template by id, its instances by pid, and every dead pid.
        """
        simple = self._book.is_simple(supervisor.name)
        pid = self._pid(supervisor, reference)

        def render(replies: Sequence[effects.Reply]) -> str:
            children = replies[0].children
            if children is None:
                return self._trace.result(supervisor.path, replies[0], "which_children")
            wanted = reference.partition(":")[2] or reference
            if simple:
                declared: Declaration | None = self._book.children(supervisor.name)[0]
                known = declared is not None and wanted == declared.id
                if pid is not None:
                    ours = names.parent(pid.path) == supervisor.path
                    known = ours or not self._roster.is_alive(pid)
            else:
                declared = self._declared(supervisor, wanted)
                known = pid is None and any(child.name == wanted for child in children)
            if declared is None or not known:
                return "result {error,not_found}"
            return self._trace.child_spec(declared, simple=simple)

        return Question((self._call(supervisor, "which_children"),), render)

    # --- start_child ----------------------------------------
    def _start_instance(self, supervisor: Handle, name: str) -> Question:
        """Start an instance of the template; Erlang takes the same arguments twice."""
        number = self._instances.get(name, 0) + 1
        self._instances[name] = number
        child = names.instance_name(name, number)
        self._roster.bind(names.join(supervisor.path, child), name)
        return self._plain(supervisor, "start_child", child)

    def _start_child(self, supervisor: Handle, declared: Declaration) -> Question:
        error = child_error(declared, None)
        if error is not None:
            return self._refused(supervisor, error)
        path = names.join(supervisor.path, declared.id)
        if not self._roster.is_alive(self._roster.last(self._roster.name(path))):
            self._roster.bind(path, declared.name)
        self._requests += 1
        call = Call(
            supervisor.path,
            self._requests,
            "start_child",
            declared.id,
            child_spec(self._book, declared),
        )
        return Question((call,), lambda replies: self._trace.result(path, replies[0], call.op))

    # --- calls about one child ----------------------------------------
    def _about_child(self, supervisor: Handle, op: Op, reference: str) -> Question:
        simple = self._book.is_simple(supervisor.name)
        pid = self._pid(supervisor, reference)
        if simple and op == "terminate_child":
            return self._terminate_instance(supervisor, pid)
        if pid is not None and not simple:
            return self._refused(supervisor, "not_found")  # a pid is nobody's id
        return self._plain(supervisor, op, reference.partition(":")[2] or reference)

    def _terminate_instance(self, supervisor: Handle, pid: Handle | None) -> Question:
        """simple_one_for_one: by pid only; ok for every pid that is dead, whosever it was."""
        if pid is None:
            return self._refused(supervisor, "simple_one_for_one")
        ours = names.parent(pid.path) == supervisor.path
        op: Op = "terminate_child" if ours else "count_children"
        call = replace(
            self._call(supervisor, op, names.leaf(pid.path)), incarnation=pid.incarnation
        )

        def render(replies: Sequence[effects.Reply]) -> str:
            if replies[0].code == "noproc" or (ours and replies[0].code == "ok"):
                return self._trace.result(pid.path, replies[0], op)
            alive = self._roster.is_alive(pid)
            return "result {error,not_found}" if alive else "result ok"

        return Question((call,), render)

    def _refused(self, supervisor: Handle, error: str) -> Question:
        def render(replies: Sequence[effects.Reply]) -> str:
            if replies[0].code == "noproc":
                return self._trace.result(supervisor.path, replies[0], "count_children")
            return f"result {{error,{error}}}"

        return Question((self._call(supervisor, "count_children"),), render)

    def _plain(self, supervisor: Handle, op: Op, child: str) -> Question:
        path = names.join(supervisor.path, child)
        call = self._call(supervisor, op, child)
        return Question((call,), lambda replies: self._trace.result(path, replies[0], op))

    def _call(self, supervisor: Handle, op: Op, child: str = "") -> Call:
        self._requests += 1
        return Call(supervisor.path, self._requests, op, child)

    # --- references ----------------------------------------
    def _pid(self, supervisor: Handle, reference: str) -> Handle | None:
        """Whom `reference` means by pid; None when it is an id, or the pid of nobody."""
        kind, colon, name = reference.partition(":")
        if not colon:
            simple = self._book.is_simple(supervisor.name)
            return self._roster.last(reference) if simple else None
        return self._roster.last(name) if kind == "pid" else None

    def _declared(self, supervisor: Handle, child: str) -> Declaration | None:
        for declared in self._book.declarations.values():
            if declared.id == child and declared.parent in {supervisor.name, None}:
                return declared
        return None
