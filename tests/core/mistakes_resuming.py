"""Known mistakes in how a daemon goes on after one that was killed: only the simulator kills daemons."""

from __future__ import annotations

from tests.core.mistake import one

KILLED_DAEMONS = {
    "whom an operator has stopped is started by a daemon that begins anew": one(
        "memory",
        "frozenset(path for path, child in self.children.items() if child.by_operator)",
        "frozenset()",
        first="simulator",
    ),
    "the next daemon does not know the restarts of the last": one(
        "resume", "restarts=was.restarts,", "restarts=(),", first="simulator"
    ),
    "the next daemon drops what was being done": one(
        "resume", "plan=_plan(was.plan, children),", "plan=None,", first="simulator"
    ),
    "the next daemon drops what had arrived": one(
        "memory",
        "mailbox=tuple(mail for mail in supervisor.mailbox if isinstance(mail, Mail)),",
        "mailbox=(),",
        first="simulator",
    ),
    "a start on its way gets the number after its own": one(
        "resume", "min(known.incarnation, highest)", "known.incarnation", first="simulator"
    ),
    "numbers in reserve are forgotten when a supervisor restarts": one(
        "boot", "last = old.last_number if", "last = old.incarnation if", first="simulator"
    ),
    "the number of who was disowned is given again": one(
        "resume", "used=max(child.used, event.incarnation)", "used=child.used", first="simulator"
    ),
    "what is found is judged by a time that nobody could keep": one(
        "machine", "Lagged, Found))", "Lagged))", first="simulator"
    ),
    "who is found dead is asked to end": one(
        "machine",
        "if child is not None and not (child.ready or child.asked):",
        "if child is not None:",
        first="simulator",
    ),
    "a silent worker is not given the time to find the next daemon": one(
        "resume", "next_beat_by(child, now + ADOPTION_GRACE_NS)", "now + 1", first="simulator"
    ),
}
