"""Each effect of the core goes to the part of the daemon that carries it out. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from supervisord_ng.core.effects import (
    AskStop,
    Dump,
    Effect,
    Forget,
    Halt,
    Kill,
    Note,
    OfLink,
    Reconfigure,
    Reloaded,
    Reply,
    Report,
    Spawn,
    TreeUp,
)
from supervisord_ng.core.events import Event
from supervisord_ng.model.reports import Context, EventName
from supervisord_ng.model.spec import WorkerSpec

if TYPE_CHECKING:
    from supervisord_ng.daemon.service import Daemon


class Performer:
    """The `perform` of the shell, for one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._specs: dict[str, WorkerSpec] = {}
        self._crash_ids: dict[str, str] = {}  # the report about the end that is noted next

    def know(self, specs: Mapping[str, WorkerSpec]) -> None:
        """These workers, by path, were started by an earlier daemon."""
        self._specs.update(specs)

    def perform(self, effect: Effect) -> Event | None:
        """Carry one effect out; return what the world says to it at once."""
        if isinstance(effect, OfLink):
            self._daemon.neighbours.carry(effect)
            return None
        match effect:
            case Spawn() | AskStop() | Kill() | Dump() | Reconfigure() | Forget():
                return self._of_worker(effect)
            case Report():
                about = effect.supervisor if effect.context is Context.SHUTDOWN else effect.path
                spec = self._specs.get(effect.path)
                self._crash_ids[about] = self._daemon.reporter.report(effect, spec)
            case Note():
                self._note(effect)
            case Reply():
                self._daemon.operators.reply(effect)
            case Reloaded():
                self._daemon.reloads.reloaded(effect)
            case TreeUp():
                self._daemon.tree_up()
            case Halt():
                self._daemon.halted(effect)
        return None

    def _of_worker(
        self, effect: Spawn | AskStop | Kill | Dump | Reconfigure | Forget
    ) -> Event | None:
        workers = self._daemon.workers
        match effect:
            case Spawn():
                self._specs[effect.path] = effect.spec
                self._daemon.numbers.use(effect.path, effect.incarnation)
                return workers.spawn(effect)
            case AskStop():
                workers.ask_stop(effect)
            case Kill():
                workers.kill(effect)
            case Dump():
                return workers.dump(effect)
            case Reconfigure():
                self._specs[effect.path] = effect.spec
                workers.reconfigure(effect)
            case Forget():
                self._specs.pop(effect.path, None)
                self._crash_ids.pop(effect.path, None)
                workers.forget(effect.path)
        return None

    def _note(self, note: Note) -> None:
        daemon = self._daemon
        daemon.neighbours.noted(note)
        if note.kind != "worker" and note.event is EventName.STARTING:
            daemon.numbers.use(note.path, note.incarnation)
        daemon.feed.note(note, report=self._crash_ids.pop(note.path, None))
