"""Effects of the core as lines, in the words of `node`."""

from __future__ import annotations

from supervisord_ng.core import effects
from supervisord_ng.model import names
from supervisord_ng.model.reports import EventName


def describe(effect: effects.Effect) -> str | None:
    """One line, or None for what only repeats another line."""
    match effect:
        case effects.Spawn(path=path, incarnation=incarnation):
            return f"start {path}#{incarnation}"
        case effects.AskStop(path=path, incarnation=incarnation, whole=whole):
            return f"ask {path}#{incarnation}" + (" all" if whole else "")
        case effects.Kill(path=path, incarnation=incarnation):
            return f"kill {path}#{incarnation}"
        case effects.Dump(path=path, incarnation=incarnation):
            return f"dump {path}#{incarnation}"
        case effects.Report():
            return _report(effect)
        case effects.Note():
            return _note(effect)
        case effects.Reply():
            return _reply(effect)
        case effects.Reloaded():
            failed = [f"{one.path} {one.reason.text}" for one in effect.failed]
            return ", ".join([f"reloaded {effect.request}", *failed])
        case effects.TreeUp():
            return "tree up"
        case effects.Halt():
            return f"halt: {effect.reason.text}" + (", asked" if effect.asked else "")
        case _:
            return None


def _report(report: effects.Report) -> str:
    if report.nb_children is not None:
        who = f"{report.nb_children} x {report.path}"
    else:
        who = "undefined" if report.offender is None else f"{report.path}#{report.offender}"
        who = f"restarting({who})" if report.retrying else who
    if report.offender is None and report.nb_children is None:
        who = f"{report.path} {who}"
    count = f"{report.restarts_in_window}/{report.intensity}"
    return f"report {report.context} {who}: {report.reason.text} -> {report.decision} {count}"


def _note(note: effects.Note) -> str | None:
    who = f"{note.path}#{note.incarnation}"
    why = "" if note.reason is None else note.reason.text
    if note.event is EventName.START_FAILED:
        return f"ignored {who}" if why == "ignore" else f"failed {who}: {why}"
    if note.kind == "worker":
        return f"ready {who}" if note.event is EventName.READY else None
    lines = {
        EventName.STARTING: f"start {who}",
        EventName.STARTED: f"up {who}",
        EventName.STOPPING: f"ask {who}",
        EventName.EXITED: f"exit {who}: {why}",
    }
    return lines.get(note.event)


def _reply(reply: effects.Reply) -> str:
    said = [f"reply {reply.request}: {reply.code}"]
    if reply.incarnation is not None:
        said.append(f"{reply.path}#{reply.incarnation}")
    if reply.reason is not None:
        said.append(reply.reason.text)
    if reply.children is not None:
        said += [_info(reply.path, child) for child in reply.children]
    if reply.counts is not None:
        counts = reply.counts
        said.append(f"{counts.specs} {counts.active} {counts.supervisors} {counts.workers}")
    return " ".join(said)


def _info(supervisor: str, child: effects.ChildInfo) -> str:
    path = names.join(supervisor, child.name)
    if child.incarnation is not None:
        return f"{path}#{child.incarnation}"
    return f"{path}:restarting" if child.restarting else f"{path}:undefined"
