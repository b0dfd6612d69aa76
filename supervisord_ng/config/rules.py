"""Rules about several keys of one table, and OTP's refusals of bad combinations. Each finds one problem.

supervisor.erl, check_childspec/1 and validate_options, refuses the same combinations of `significant`,
`restart` and `auto_shutdown`. Rules about the shape of the whole tree are in `config.arrange`.
"""

from __future__ import annotations

from collections.abc import Callable

from supervisord_ng.config import raw
from supervisord_ng.config.explain import any_of, quoted, show
from supervisord_ng.config.places import Notes
from supervisord_ng.config.special import STREAMS
from supervisord_ng.config.tables import Section
from supervisord_ng.config.units import format_duration
from supervisord_ng.model.names import ROOT
from supervisord_ng.model.spec import AutoShutdown, Restart, Strategy

Child = raw.Worker | raw.Supervisor | raw.Remote
Worker = Section[raw.Worker]


def check_worker(worker: Worker, notes: Notes) -> None:
    """Find what is wrong between the keys of one worker."""
    for rule in _WORKER_RULES:
        rule(worker, notes)


def check_supervisor(supervisor: Section[raw.Supervisor], notes: Notes) -> None:
    """Find what is wrong between the keys of one supervisor."""
    said = supervisor.said
    if said.strategy is not Strategy.SIMPLE_ONE_FOR_ONE:
        return
    if len(said.children) != 1 and supervisor.table.is_sound("children"):
        text = f'must be exactly one, the template, with strategy "{said.strategy}"'
        children = show(list(said.children))
        supervisor.problem(notes, f"cannot be {children}: {text}", "children")


def check_template(
    child: Section[Child], supervisor: Section[raw.Supervisor], notes: Notes
) -> None:
    """Find what the template of a simple_one_for_one supervisor cannot be: one child, or one file, for all."""
    if supervisor.said.strategy is not Strategy.SIMPLE_ONE_FOR_ONE:
        return
    said = child.said
    if not isinstance(said, raw.Worker):
        text = f'cannot be the template of a "{Strategy.SIMPLE_ONE_FOR_ONE}" supervisor'
        child.problem(notes, f"{text}: its instances are workers")
        return
    only = f"of {quoted(supervisor.name)} each instance is started at run time"
    if said.instances is not None:
        child.problem(notes, f"cannot be set: {only} (sng start-child)", "instances")
    if not said.autostart:
        child.problem(notes, f"cannot be false: {only}, and not by itself", "autostart")
    own = "each instance has a file of its own (leave it out)"
    if said.log.file is not None:
        child.problem(notes, f"cannot be set: {own}", "log", "file")
    for key in ("stdout", "stderr"):
        value = getattr(said, key)
        if value not in STREAMS and not value.startswith("/dev/"):
            child.problem(notes, f"cannot be {show(value)}: {own}", key)


def check_significant(child: Section[Child], notes: Notes) -> None:
    """Find a significant child that will never end its supervisor, because it is always restarted."""
    said, table = child.said, child.table
    if child.name == ROOT or not said.significant or not table.is_sound("significant", "restart"):
        return
    if said.restart is Restart.PERMANENT:
        text = 'cannot be true while restart is "permanent": a child that is always restarted'
        ends = any_of((Restart.TRANSIENT, Restart.TEMPORARY))
        text = f"{text} never ends its supervisor (restart must be {ends})"
        child.problem(notes, text, "significant")


def check_significant_below(
    child: Section[Child], supervisor: Section[raw.Supervisor], notes: Notes
) -> None:
    """Find a significant child of a supervisor that no child ends."""
    is_judged = child.table.is_sound("significant") and supervisor.table.is_sound("auto_shutdown")
    if not child.said.significant or not is_judged:
        return
    if supervisor.said.auto_shutdown is AutoShutdown.NEVER:
        text = f'cannot be true: auto_shutdown of supervisor {quoted(supervisor.name)} is "never"'
        may_end = any_of((AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT))
        child.problem(notes, f"{text} (there it must be {may_end})", "significant")


def _one_shot(worker: Worker, notes: Notes) -> None:
    said = worker.said
    if said.ready.kind != "exit" or not worker.table.is_sound("restart", "ready"):
        return
    if said.restart is Restart.PERMANENT:
        why = "a step that ended well would be run again and again"
        ends = any_of((Restart.TRANSIENT, Restart.TEMPORARY))
        text = f'cannot be "exit" while restart is "permanent": {why} (restart must be {ends})'
        worker.problem(notes, text, "ready")


def _heartbeat(worker: Worker, notes: Notes) -> None:
    heartbeat = worker.said.heartbeat
    if heartbeat is None:
        return
    low, high = heartbeat.interval, heartbeat.timeout
    if low >= high:
        _ordered(worker, ("heartbeat", "interval", "timeout"), low, high, "less than", notes)
    table = worker.table.inner("heartbeat")
    if table and "threshold" in table.places and heartbeat.detector != "phi":
        text = 'cannot be set: it is for detector = "phi" only'
        worker.problem(notes, text, "heartbeat", "threshold")


def _backoff(worker: Worker, notes: Notes) -> None:
    backoff = worker.said.backoff
    if backoff is not None and backoff.initial > backoff.max:
        low, high = backoff.initial, backoff.max
        _ordered(worker, ("backoff", "initial", "max"), low, high, "at most", notes)


def _ordered(
    worker: Worker, keys: tuple[str, str, str], low: int, high: int, must_be: str, notes: Notes
) -> None:
    """Say that two times of one table contradict each other, at one that stands in the file."""
    outer, lower, upper = keys
    table = worker.table.inner(outer)
    if table is None or not table.is_sound(lower, upper):
        return
    key, value, other, relation = lower, low, (upper, high), must_be
    if lower not in table.places:
        converse = {"less than": "more than", "at most": "at least"}
        key, value, other, relation = upper, high, (lower, low), converse[must_be]
    given = "" if other[0] in table.places else " by default"
    limit = f"{other[0]}, which is {quoted(format_duration(other[1]))}{given}"
    text = f"cannot be {quoted(format_duration(value))}: must be {relation} {limit}"
    worker.problem(notes, text, outer, key)


def _liveness(worker: Worker, notes: Notes) -> None:
    liveness = worker.said.liveness
    table = worker.table.inner("liveness")
    if liveness is None or table is None or not table.is_sound("tcp", "http", "exec"):
        return
    given = [name for name in ("tcp", "http", "exec") if name in table.places]
    if len(given) != 1:
        found = " and ".join(given) if given else "none"
        text = f"must have exactly one of tcp, http, exec, but has {found}"
        worker.problem(notes, text, "liveness")


def _ready_by_log(worker: Worker, notes: Notes) -> None:
    said = worker.said
    if said.ready.kind != "log" or not worker.table.is_sound("ready", "stdout", "stderr"):
        return
    if "log" not in (said.stdout, said.stderr):
        text = 'cannot wait for a line of output: none is read (stdout or stderr must be "log")'
        worker.problem(notes, text, "ready")


def _log(worker: Worker, notes: Notes) -> None:
    log, table = worker.said.log, worker.table.inner("log")
    if table is None or not table.is_sound("format", "timestamps"):
        return
    if log.format == "json" and log.timestamps:
        text = 'cannot be true with format = "json": its lines have the time already'
        worker.problem(notes, text, "log", "timestamps")


_WORKER_RULES: tuple[Callable[[Worker, Notes], None], ...] = (
    _one_shot,
    _heartbeat,
    _backoff,
    _liveness,
    _ready_by_log,
    _log,
)
