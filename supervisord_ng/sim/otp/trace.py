"""The lines of a trace: notes, reports and replies of the core in the words of the oracle.

Only prints; what a line says about a child comes from the roster. The format is described in
docs/otp-conformance.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from supervisord_ng.core import effects
from supervisord_ng.model import names
from supervisord_ng.model.exits import KILLED, ExitReason
from supervisord_ng.model.reports import EventName
from supervisord_ng.sim.otp.roster import Roster
from supervisord_ng.sim.otp.scenario import Book, Declaration
from supervisord_ng.sim.otp.terms import reason_term, unraised

IGNORE = "ignore"
"""The word in the reason of a supervisor that answered ignore instead of starting."""


class Trace:
    """The lines so far, and how to write more of them."""

    def __init__(self, book: Book, roster: Roster) -> None:
        self._book = book
        self._roster = roster
        self._lines: list[str] = []

    def say(self, line: str) -> None:
        """Write a line."""
        self._lines.append(line)

    def text(self) -> str:
        """The whole trace; with the option ``unordered`` in the order that the oracle gives it."""
        lines = self._lines
        if "unordered" in self._book.options:
            lines = _with_sorted_runs(lines, self._is_worker_exit)
        return "".join(f"{line}\n" for line in lines)

    def note(self, note: effects.Note) -> None:
        """Write what a note says, where the oracle has a line for it."""
        supervisor = note.kind == "supervisor"
        match note.event:
            case EventName.STARTING if supervisor:
                self.say(f"starting {self._roster.name(note.path)}")
            case EventName.STARTED:
                self._started(note)
            case EventName.START_FAILED if supervisor and note.reason is not None:
                self._start_failed(note.path, note.reason)
            case EventName.EXITED if supervisor and note.reason is not None:
                self._supervisor_exit(note, note.reason)
            case _:
                pass

    def _started(self, note: effects.Note) -> None:
        handle = self._roster.started(note.path, note.incarnation)
        self.say(f"started {handle}")
        parent = names.parent(note.path)
        simple = self._book.is_simple(self._roster.name(parent))
        if parent and not simple and "progress" in self._book.options:
            supervisor = self._roster.name(parent)
            self.say(f"progress {supervisor} {names.leaf(note.path)} pid={handle}")

    def _start_failed(self, path: str, reason: ExitReason) -> None:
        name = self._roster.name(path)
        if reason.text == IGNORE:
            self.say(f"ignored {name}")
        else:
            self.say(f"start_failed {name} reason={reason_term(unraised(reason))}")

    def _supervisor_exit(self, note: effects.Note, reason: ExitReason) -> None:
        handle = self._roster.find(note.path, note.incarnation)
        if handle is None:
            return  # it never came up: the failed start has been told
        self._roster.ended(handle)
        if reason.is_abnormal and reason != KILLED and "crash" in self._book.options:
            self.say(f"crash {handle} reason={reason_term(reason)}")
        self.say(f"exit {handle} {reason_term(reason)}")

    def report(self, report: effects.Report) -> None:
        """Write a supervisor report."""
        supervisor = self._roster.name(report.supervisor)
        simple = self._book.is_simple(supervisor)
        child = self._book.children(supervisor)[0].id if simple else names.leaf(report.path)
        if report.nb_children is not None:
            who = f"nb_children={report.nb_children}"
        else:
            pid = self._pid(report.path, report.offender)
            who = f"pid={{restarting,{pid}}}" if report.retrying else f"pid={pid}"
        why = reason_term(report.reason)
        self.say(f"report {supervisor} {report.context} {child} {who} reason={why}")

    def _pid(self, path: str, incarnation: int | None) -> str:
        handle = None if incarnation is None else self._roster.find(path, incarnation)
        return "undefined" if handle is None else str(handle)

    # --- answers to calls ----------------------------------------
    def result(self, path: str, reply: effects.Reply, op: str) -> str:
        """What `op` on the child with this path returned to its caller."""
        reason = "" if reply.reason is None else reason_term(reply.reason)
        match reply.code:
            case "noproc":
                return f"result {{exit,{reason or 'noproc'}}}"
            case "ok" if op in {"start_child", "restart_child"}:
                return f"result {{ok,{self._pid(path, reply.incarnation)}}}"
            case "ok":
                return "result ok"
            case "already_started":
                return f"result {{error,{{already_started,{self._pid(path, reply.incarnation)}}}}}"
            case "start_failed" if op == "start_child" and not self._is_instance(path):
                return f"result {{error,{{{reason},<child>}}}}"
            case "start_failed" | "invalid":
                return f"result {{error,{reason}}}"
            case _:
                return f"result {{error,{reply.code}}}"

    def which(self, supervisor: str, path: str, children: Iterable[effects.ChildInfo]) -> str:
        """The answer of which_children."""
        simple = self._book.is_simple(supervisor)
        items = []
        for child in children:
            where = self._pid(names.join(path, child.name), child.incarnation)
            state = "restarting" if child.restarting else where
            items.append(state if simple else f"{child.name}={state}")
        if simple:
            items.sort()
        return f"which {supervisor} [{', '.join(items)}]"

    def count(
        self, supervisor: str, counts: effects.Counts, children: Iterable[effects.ChildInfo]
    ) -> str:
        """The answer of count_children, by declared types: a fake may be declared a supervisor."""
        types = [self._child_type(supervisor, child.name) for child in children]
        return (
            f"count {supervisor} specs={counts.specs} active={counts.active}"
            f" supervisors={types.count('supervisor')} workers={types.count('worker')}"
        )

    def child_spec(self, declared: Declaration, *, simple: bool) -> str:
        """The answer of get_childspec. Arguments are shown even where OTP forgets them."""
        start = "start_sup" if declared.kind == "sup" else "start_dyn" if simple else "start_worker"
        endless = declared.child_type == "supervisor"
        keys = {
            "id": declared.id,
            "start": start,
            "args": f"[{declared.name}]",
            "restart": declared.keys.get("restart", "permanent"),
            "significant": declared.keys.get("significant", "false"),
            "shutdown": declared.keys.get("shutdown", "infinity" if endless else "5000"),
            "type": declared.child_type,
        }
        return "result {ok,spec} " + " ".join(f"{key}={value}" for key, value in keys.items())

    def _child_type(self, supervisor: str, child: str) -> str:
        if self._book.is_simple(supervisor):
            return self._book.children(supervisor)[0].child_type
        for declared in self._book.declarations.values():
            if declared.id == child and declared.parent in {supervisor, None}:
                return declared.child_type
        return "worker"  # undeclared meanwhile

    def _is_instance(self, path: str) -> bool:
        return self._book.is_simple(self._roster.name(names.parent(path)))

    def _is_worker_exit(self, line: str) -> bool:
        word, _, rest = line.partition(" ")
        return word == "exit" and not self._book.is_supervisor(rest.partition("#")[0])


def _with_sorted_runs(lines: list[str], belongs: Callable[[str], bool]) -> list[str]:
    """Sort each run of consecutive lines that `belongs` picks; the others keep their places."""
    ordered: list[str] = []
    for picked, run in itertools.groupby(lines, belongs):
        members = list(run)
        ordered.extend(sorted(members) if picked else members)
    return ordered
