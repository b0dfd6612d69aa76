"""Exit reasons in the words of a scenario, as the core's values, and as Erlang terms.

The texts of the reasons made here are Erlang terms already, so most of them are printed as they
are. Knows nothing of events, effects or traces.
"""

from __future__ import annotations

from supervisord_ng.model.exits import (
    KILLED,
    NORMAL,
    SHUTDOWN,
    ExitClass,
    ExitReason,
    abnormal,
)

FAILED_CHILD = "failed_to_start_child:"
"""How the core begins a supervisor's reason whose child could not start: ``...:NAME:INNER``."""

_STACK = ",<stack>}}"
_PLAIN = {"normal": NORMAL, "shutdown": SHUTDOWN, "killed": KILLED}


def reason_from_word(word: str) -> ExitReason:
    """Read a REASON of a scenario: ``normal``, ``shutdown``, ``shutdown:T``, any other word."""
    if word in _PLAIN:
        return _PLAIN[word]
    if word.startswith("shutdown:"):
        return ExitReason(ExitClass.SHUTDOWN_TERM, f"{{shutdown,{word.partition(':')[2]}}}")
    return abnormal(word)


def raised(reason: ExitReason) -> ExitReason:
    """What a supervisor makes of a start function that raises `reason`; without the stack."""
    return abnormal(f"{{'EXIT',{{{reason.text}{_STACK}")


def unraised(reason: ExitReason) -> ExitReason:
    """The reason that a start function raised; any other reason as it is."""
    text = reason.text
    if text.startswith("{'EXIT',{") and text.endswith(_STACK):
        return abnormal(text.removeprefix("{'EXIT',{").removesuffix(_STACK))
    return reason


def reason_term(reason: ExitReason) -> str:
    """Print a reason as Erlang would.

    Example: ``failed_to_start_child:mid:failed_to_start_child:x:nope`` becomes
    ``{shutdown,{failed_to_start_child,mid,{shutdown,{failed_to_start_child,x,nope}}}}``.
    """
    names: list[str] = []
    rest = reason.text
    while rest.startswith(FAILED_CHILD):
        name, _, rest = rest.removeprefix(FAILED_CHILD).partition(":")
        names.append(name)
    term = rest
    for name in reversed(names):
        term = f"{{shutdown,{{failed_to_start_child,{name},{term}}}}}"
    return term
