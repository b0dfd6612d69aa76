"""What supervisor(3) refuses in flags and child specifications, with its error terms.

The daemon has its own validation, for people and for TOML (`config.check`); this one exists so that
a scenario's wrong declarations are refused before the core sees them. supervisor.erl: check_flags,
check_startspec, check_childspec; the first error wins.
"""

from __future__ import annotations

from supervisord_ng.sim.otp.scenario import Book, Declaration

_STRATEGIES = {"one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one"}
_AUTO_SHUTDOWN = {"never", "any_significant", "all_significant"}
_RESTART = {"permanent", "transient", "temporary"}


def supervisor_error(book: Book, supervisor: Declaration) -> str | None:
    """Return the reason why this supervisor cannot start, as an Erlang term; None when it can."""
    flags = _flags_error(supervisor)
    if flags is not None:
        return f"{{supervisor_data,{flags}}}"
    children = book.children(supervisor.name)
    if supervisor.strategy == "simple_one_for_one" and len(children) != 1:
        return f"{{bad_start_spec,[{','.join(child.id for child in children)}]}}"
    auto_shutdown = supervisor.keys.get("auto_shutdown", "never")
    seen: set[str] = set()
    for child in children:
        error = child_error(child, auto_shutdown)
        if error is None and child.id in seen:
            error = f"{{duplicate_child_name,{child.id}}}"
        if error is not None:
            return f"{{start_spec,{error}}}"
        seen.add(child.id)
    return None


def child_error(child: Declaration, auto_shutdown: str | None) -> str | None:
    """Return what is wrong with one child specification, as an Erlang term; None when nothing is.

    Args:
        child: the declaration.
        auto_shutdown: the flag of its supervisor; None leaves the bad combinations to the core.
    """
    keys = child.keys
    if "whole" in keys:
        return f"{{invalid_child_spec,{keys['whole']}}}"
    if "omit" in keys:
        return f"missing_{keys['omit']}"
    if "start" in keys:
        return f"{{invalid_mfa,{keys['start']}}}"
    restart = keys.get("restart", "permanent")
    if restart not in _RESTART:
        return f"{{invalid_restart_type,{restart}}}"
    error = _significant_error(keys.get("significant", "false"), restart, auto_shutdown)
    if error is not None:
        return error
    if child.child_type not in {"worker", "supervisor"}:
        return f"{{invalid_child_type,{child.child_type}}}"
    shutdown = keys.get("shutdown", "infinity")
    if shutdown not in {"infinity", "brutal_kill"} and not _is_integer(shutdown, 0):
        return f"{{invalid_shutdown,{shutdown}}}"
    modules = keys.get("modules", "dynamic")
    return None if modules == "dynamic" else f"{{invalid_modules,{modules}}}"


def _significant_error(significant: str, restart: str, auto_shutdown: str | None) -> str | None:
    """The rules of EEP 56; that of auto_shutdown comes before that of the restart type."""
    if significant not in {"true", "false"}:
        return f"{{invalid_significant,{significant}}}"
    if significant == "false" or auto_shutdown is None:
        return None
    if auto_shutdown == "never":
        return "{bad_combination,[{auto_shutdown,never},{significant,true}]}"
    if restart == "permanent":
        return "{bad_combination,[{restart,permanent},{significant,true}]}"
    return None


def _flags_error(supervisor: Declaration) -> str | None:
    keys = supervisor.keys
    if "flags" in keys:
        return f"{{invalid_type,{keys['flags']}}}"
    if supervisor.strategy not in _STRATEGIES:
        return f"{{invalid_strategy,{supervisor.strategy}}}"
    if not _is_integer(keys.get("intensity", "1"), 0):
        return f"{{invalid_intensity,{keys['intensity']}}}"
    if not _is_integer(keys.get("period", "5"), 1):
        return f"{{invalid_period,{keys['period']}}}"
    if keys.get("auto_shutdown", "never") not in _AUTO_SHUTDOWN:
        return f"{{invalid_auto_shutdown,{keys['auto_shutdown']}}}"
    return None


def _is_integer(word: str, least: int) -> bool:
    return word.isdecimal() and int(word) >= least
