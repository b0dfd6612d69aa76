"""Random trees and histories for the naive model and the core, drawn by Hypothesis, and as text for people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from supervisord_ng.limits import MS, SECOND, US
from supervisord_ng.model import names
from supervisord_ng.model.exits import SHUTDOWN, ExitClass, ExitReason, ExitStatus, status_text
from supervisord_ng.model.spec import Backoff, ChildSpec, Heartbeat, SupervisorSpec, WorkerSpec
from tests.core.model_world import Model
from tests.core.node import BOOM, NOPE, Node, supervisor, walk, worker

DEPTH_MAX = 3
CHILDREN_MAX = 3
ACTIONS_MIN, ACTIONS_MAX = 8, 25
PERIODS = ("1s", "2s", "5s")
BACKOFF = Backoff(SECOND, max_ns=3 * SECOND // 2, jitter=0.0, reset_after_ns=2 * SECOND)
HEARTBEAT = Heartbeat(SECOND // 2, 2 * SECOND)
AGAIN = -1  # as `path`: the worker that ended last
DONE = ExitReason(ExitClass.SHUTDOWN_TERM, "done")
ENDS = (
    *(ExitStatus(code=code) for code in (0, 1, 3, 128 + 15)),
    *(ExitStatus(signal=signal) for signal in (1, 9, 15)),
    *(SHUTDOWN, DONE, BOOM),
)


@dataclass(frozen=True)
class Action:
    """One verb of `Node` and of `Model` with its arguments.

    A number as `path` means one of those to whom it can happen when its turn comes, or `AGAIN`.
    """

    verb: str
    path: str | int = ""
    arguments: tuple[Any, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    def of(self, who: Node | Model) -> None:
        """Do it."""
        where = (self.path,) if self.path else ()
        getattr(who, self.verb)(*where, *self.arguments, **self.more)

    def __repr__(self) -> str:
        words = [repr(self.path)] if self.path else []
        words += [_short(argument) for argument in self.arguments]
        words += [f"{key}={_short(value)}" for key, value in self.more.items()]
        return f"{self.verb}({', '.join(words)})"


def _short(value: object) -> str:
    match value:
        case ExitReason():
            return value.text
        case ExitStatus():
            return status_text(value)
        case SupervisorSpec() | WorkerSpec():
            return outline(value)
        case _:
            return repr(value)


# --- trees ----------------------------------------------------------------------------------------
@st.composite
def trees(draw: st.DrawFn) -> SupervisorSpec:
    """A root with anything below it that the model knows.

    No two times in it are the same, so that no two supervisors act at the same moment.
    """
    tree = draw(supervisors("root", 1))
    return _apart(tree, itertools.count(1))


def _apart(spec: SupervisorSpec, numbers: Iterator[int]) -> SupervisorSpec:
    children: list[ChildSpec] = []
    for child in spec.children:
        number = next(numbers)
        if isinstance(child, SupervisorSpec):
            children.append(_apart(child, numbers))
        elif isinstance(child, WorkerSpec):
            heartbeat, backoff = child.heartbeat, child.backoff
            if heartbeat is not None:
                heartbeat = replace(heartbeat, timeout_ns=heartbeat.timeout_ns + number * 7919 * US)
            if backoff is not None:
                initial = backoff.initial_ns + number * 104729 * US // 100
                backoff = replace(backoff, initial_ns=initial, max_ns=3 * initial // 2)
            children.append(replace(child, heartbeat=heartbeat, backoff=backoff))
    return replace(spec, children=tuple(children))


@st.composite
def supervisors(draw: st.DrawFn, name: str, depth: int) -> SupervisorSpec:
    """One supervisor with its subtree."""
    auto = draw(st.sampled_from(["never", "never", "any_significant", "all_significant"]))
    keys: dict[str, Any] = {
        "intensity": draw(
            st.sampled_from([0, 1, 2, 3, None] if depth > 1 else [1, 3, None, None, None])
        ),
        "period": draw(st.sampled_from(PERIODS)),
        "restart": draw(st.sampled_from(["permanent", "permanent", "transient", "temporary"])),
        "shutdown": draw(st.sampled_from(["infinity", "infinity", "brutal_kill"])),
        "auto_shutdown": auto,
    }
    if depth == 1:
        keys["start_failure"] = draw(st.sampled_from(["give_up", "give_up", "retry"]))
    if depth > 1 and draw(st.integers(0, 5)) == 0:
        keys["strategy"] = "simple_one_for_one"
        template = replace(draw(workers("t", "never")), heartbeat=None)
        return supervisor(name, template, **keys)
    keys["strategy"] = draw(st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]))
    children: list[ChildSpec] = []
    for number in range(draw(st.integers(1, CHILDREN_MAX))):
        if depth < DEPTH_MAX and draw(st.integers(0, 2)) == 0:
            children.append(draw(supervisors(f"s{number}", depth + 1)))
        else:
            children.append(draw(workers(f"w{number}", auto)))
    if all(isinstance(child, WorkerSpec) for child in children):
        keys["stop_order"] = draw(st.sampled_from(["reverse", "parallel"]))
    return supervisor(name, *children, **keys)


@st.composite
def workers(draw: st.DrawFn, name: str, auto_shutdown: str) -> WorkerSpec:
    """One worker."""
    restart = draw(st.sampled_from(["permanent", "permanent", "transient", "temporary"]))
    matters = auto_shutdown != "never" and restart != "permanent"
    return worker(
        name,
        restart=restart,
        significant=matters and draw(st.booleans()),
        shutdown=draw(st.sampled_from(["5s", "5s", "infinity", "brutal_kill", "0s"])),
        backoff=draw(st.sampled_from([None, None, BACKOFF])),
        heartbeat=draw(st.sampled_from([None, HEARTBEAT])),
        success_exit_codes=draw(st.sampled_from([(0,), (0,), (0, 3)])),
        clean_signals=draw(st.sampled_from([(), (), (1,)])),
    )


# --- histories ------------------------------------------------------------------------------------
def histories(tree: SupervisorSpec) -> st.SearchStrategy[list[Action]]:
    """What happens to a tree. What makes no sense when its turn comes is skipped."""
    some = st.sampled_from
    everyone = dict(walk(tree))
    above = [path for path, spec in everyone.items() if isinstance(spec, SupervisorSpec)]
    below = [path for path in everyone if path != tree.name]
    new = [names.join(path, name) for path in above for name in ("n0", "n1")]
    workers_or_none = [path for path in [*below, *new] if path not in above]
    periods = {spec.period_ns for spec in everyone.values() if isinstance(spec, SupervisorSpec)}
    spans = [p + d for p in sorted(periods) for d in (-1, 0, 1)] + [1500 * MS, 4 * SECOND]
    failures = st.lists(some([NOPE, NOPE, SHUTDOWN, None]), min_size=1, max_size=3)
    ops = some(["terminate_child", "restart_child", "renew_child", "delete_child"])
    queries = some(["which_children", "count_children"])
    often = [
        _act("exits", some([AGAIN, AGAIN, 0]), st.just(BOOM)),
        _act("exits", ANYONE, some(ENDS)),
        _act("advance", st.just(""), some(spans)),
    ]
    sometimes = [
        st.builds(lambda path, why: Action("fails", path, tuple(why)), some(below), failures),
        st.builds(_call, ops, some([*below, *new]), some([(), ("now",)])),
        _act("obeys_with", ANYONE, some([ENDS[0], ENDS[0], *ENDS])),
        _act("hangs", ANYONE),
        _act("keeps_stacks", ANYONE),
    ]
    seldom = [
        st.builds(_add, some(workers_or_none), workers("n", "any_significant")),
        _act("query", st.just(""), queries, some(above)),
        _act("late", ANYONE),
        _act("kill_supervisor", ANYONE),
        _act("suspend", ANYONE),
        _act("resume", st.just("")),
    ]
    # `one_of` would take what stands here several times for one
    drawn = some([*often * 5, *sometimes * 2, *seldom]).flatmap(lambda kind: kind)
    return st.lists(drawn, min_size=ACTIONS_MIN, max_size=ACTIONS_MAX)


ANYONE = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 6])


def _act(
    verb: str, who: st.SearchStrategy[Any], *drawn: st.SearchStrategy[Any]
) -> st.SearchStrategy[Action]:
    return st.builds(lambda path, *arguments: Action(verb, path, arguments), who, *drawn)


def _call(op: str, path: str, more: tuple[str, ...]) -> Action:
    return Action("call", "", (op, path), more=dict.fromkeys(more, True))


def _add(path: str, drawn: WorkerSpec) -> Action:
    """A child to be added: its times would be the same as those of another, so it has none."""
    keys = {"restart": drawn.restart, "significant": drawn.significant}
    spec = worker(names.leaf(path), shutdown="5s", **keys)
    return Action("call", "", ("start_child", path), {"spec": spec})


# --- trees for people -----------------------------------------------------------------------------
def outline(spec: ChildSpec, indent: str = "") -> str:
    """A tree as text, without what is at its default."""
    default = type(spec).__struct_fields__
    plain = supervisor("x") if isinstance(spec, SupervisorSpec) else worker("x")
    keys = [
        f"{key}={getattr(spec, key)!s}"
        for key in default
        if key not in ("name", "children", "launch", "log")
        and getattr(spec, key) != getattr(plain, key)
    ]
    lines = [f"{indent}{spec.name} {' '.join(keys)}".rstrip()]
    if isinstance(spec, SupervisorSpec):
        lines += [outline(child, indent + "  ") for child in spec.children]
    return "\n".join(lines)
