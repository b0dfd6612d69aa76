"""Trees for incidents: specifications in the words of the configuration, without what no incident needs."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from supervisord_ng.config.units import parse_duration
from supervisord_ng.model import names
from supervisord_ng.model.exits import ExitReason, ExitStatus, abnormal
from supervisord_ng.model.spec import (
    AutoShutdown,
    ChildSpec,
    LaunchSpec,
    LogSpec,
    Restart,
    StartFailure,
    StopOrder,
    Strategy,
    SupervisorSpec,
    WorkerSpec,
)

BOOM = abnormal("boom")
NOPE = abnormal("nope")
End = ExitReason | ExitStatus

_WORDS: dict[str, type] = {
    "strategy": Strategy,
    "restart": Restart,
    "auto_shutdown": AutoShutdown,
    "start_failure": StartFailure,
    "stop_order": StopOrder,
}


def worker(name: str, **keys: Any) -> WorkerSpec:
    """A worker as the configuration would say it; durations are text, "5s"."""
    launch = LaunchSpec(command=(keys.pop("command", "simulated"),))
    return WorkerSpec(name=name, launch=launch, log=LogSpec(file=""), **_keys(keys))


def other(spec: WorkerSpec) -> WorkerSpec:
    """The same worker with another command."""
    return replace(spec, launch=replace(spec.launch, command=("other",)))


def supervisor(name: str, *children: ChildSpec, **keys: Any) -> SupervisorSpec:
    """A supervisor and its children in start order."""
    return SupervisorSpec(name=name, children=children, **_keys(keys))


def _keys(keys: dict[str, Any]) -> dict[str, Any]:
    made = {}
    for key, value in keys.items():
        if key in _WORDS:
            made[key] = _WORDS[key](value)
        elif key in {"period", "ready_timeout"}:
            made[f"{key}_ns"] = parse_duration(value)
        elif key == "shutdown" and value not in {"brutal_kill", "infinity"}:
            made[key] = parse_duration(value)
        else:
            made[key] = value
    return made


def walk(spec: ChildSpec, path: str = "") -> list[tuple[str, ChildSpec]]:
    """Everyone in a tree with their paths, parents first."""
    path = path or spec.name
    found = [(path, spec)]
    if isinstance(spec, SupervisorSpec):
        for child in spec.children:
            found += walk(child, names.join(path, child.name))
    return found
