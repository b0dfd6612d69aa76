"""Children that are added and removed at run time: start-child and delete."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from supervisord_ng.config.loading import load_worker
from supervisord_ng.core import view
from supervisord_ng.daemon.operators import Outcome
from supervisord_ng.errors import ConfigError, ControlError
from supervisord_ng.limits import CHILDREN_MAX
from supervisord_ng.model import names, targets
from supervisord_ng.model.instances import instance_of
from supervisord_ng.model.spec import Strategy, WorkerSpec
from supervisord_ng.model.status import Row

if TYPE_CHECKING:
    from supervisord_ng.daemon.service import Daemon


class Children:
    """The verbs start-child and delete, of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def start(
        self, supervisor: str, name: str | None, args: tuple[str, ...], toml: str | None
    ) -> Outcome:
        """Add a child to a supervisor and start it.

        Args:
            supervisor: its name or path.
            name: of the child; an instance of a template gets the next free number without one.
            args: appended to the command of the template.
            toml: the keys of the worker, for a supervisor that has no template.

        Raises:
            ControlError: not_found, bad_request, refused; config, what `toml` says is wrong.
        """
        path = self._supervisor(supervisor)
        spec = self._daemon.shell.state.supervisors[path].spec
        workers = view.worker_specs(self._daemon.shell.state)
        if len(workers) >= CHILDREN_MAX:
            raise ControlError("refused", f"cannot start a child: there are {CHILDREN_MAX} workers")
        if spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
            if toml is not None:
                text = f"cannot use --toml: the children of {path} are instances of its template"
                raise ControlError("bad_request", text, "say what differs by ARGS")
            made = instance_of(spec.children[0], name or self._next_name(path), args)
            asked: dict[str, Any] = {"args": args}
        else:
            made = await self._worker(path, name, args, toml)
            asked = {"spec": made}
        assert isinstance(made, WorkerSpec), "a template is a worker"
        self._check_name(path, made.name)
        self._check_files(made, workers)
        child = names.join(path, made.name)
        used = self._daemon.births.raised(self._daemon.store.load_incarnations(), (child,))
        return await self._daemon.operators.start_child(child, used=used.get(child, 0), **asked)

    async def delete(self, rows: list[Row]) -> list[Outcome]:
        """Forget children that are stopped."""
        return await self._daemon.operators.delete(rows)

    def _supervisor(self, said: str) -> str:
        rows = self._daemon.rows()
        for row in rows:
            if row.kind == "supervisor" and said in (row.path, row.name):
                return row.path
        found = targets.find(rows, said)  # refuses an unknown name, with near ones
        text = f"cannot start a child of {found[0].path}: it is no supervisor"
        raise ControlError("bad_request", text)

    def _next_name(self, path: str) -> str:
        """The template's name with the lowest number that is free."""
        supervisor = self._daemon.shell.state.supervisors[path]
        base = supervisor.spec.children[0].name
        number = 1
        while names.instance_name(base, number) in supervisor.children:
            number += 1
        return names.instance_name(base, number)

    async def _worker(
        self, path: str, name: str | None, args: tuple[str, ...], toml: str | None
    ) -> WorkerSpec:
        if toml is None:
            text = f"cannot start a child of {path}: it has no template"
            raise ControlError("bad_request", text, "say --name NAME --toml 'command = ...'")
        if name is None or not names.is_name(name):
            rule = f"needs a name: {names.NAME_RULE}"
            raise ControlError("bad_request", f"cannot start a child of {path}: it {rule}")
        if args:
            text = f"cannot append arguments: {path} has no template (put them into the command)"
            raise ControlError("bad_request", text)
        try:
            return await asyncio.to_thread(load_worker, self._daemon.tree, name, toml)
        except ConfigError as error:
            text = f"cannot start {names.join(path, name)}"
            raise ControlError("config", f"{error}\n{text}") from error

    def _check_name(self, path: str, name: str) -> None:
        """Names are unique in a node; the core judges those of one supervisor."""
        base, at, number = name.partition("@")
        if not names.is_name(base) or (at and not number.isdecimal()) or name == names.ROOT:
            raise ControlError("bad_request", f"cannot call a child {name}: {names.NAME_RULE}")
        taken = {row.path for row in self._daemon.rows() if row.name == name}
        if others := sorted(taken - {names.join(path, name)}):
            raise ControlError("refused", f"cannot call a child {name}: {others[0]} has this name")

    def _check_files(self, made: WorkerSpec, workers: dict[str, WorkerSpec]) -> None:
        """Each worker rotates its own log, so no two may have one."""
        captured = set(_logged(workers.values(), but=made.name))
        if "log" in (made.launch.stdout, made.launch.stderr) and made.log.file in captured:
            text = f"cannot start {made.name}: another worker writes {made.log.file}"
            raise ControlError("refused", text)


def _logged(workers: Iterable[WorkerSpec], *, but: str) -> Iterable[str]:
    for one in workers:
        if one.name != but and "log" in (one.launch.stdout, one.launch.stderr):
            yield one.log.file
