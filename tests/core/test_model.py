"""The core decides as the naive model does: random trees, random histories, the same lines in the same order.

`NAIVE_EXAMPLES=5000` plays that many histories instead of the few of an ordinary run.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from supervisord_ng.limits import MS, SECOND, US
from supervisord_ng.model import names
from supervisord_ng.model.exits import (
    KILLED,
    NORMAL,
    SHUTDOWN,
    ExitClass,
    ExitReason,
)
from supervisord_ng.model.spec import Backoff, ChildSpec, SupervisorSpec, WorkerSpec
from tests.core.model_world import Model
from tests.core.node import BOOM, NOPE, Node, supervisor, walk, worker

EXAMPLES = int(os.environ.get("NAIVE_EXAMPLES", "300"))
DEPTH_MAX = 3
CHILDREN_MAX = 3
ACTIONS_MIN, ACTIONS_MAX = 5, 14
PERIODS = ("1s", "2s", "5s")
DONE = ExitReason(ExitClass.SHUTDOWN_TERM, "done")
REASONS = (NORMAL, SHUTDOWN, DONE, KILLED, BOOM)


@dataclass(frozen=True)
class Action:
    """One verb of `Node` and of `Model` with its arguments.

    A number as `path` means one of those to whom it can happen, when its turn comes.
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
        words += [a.text if isinstance(a, ExitReason) else repr(a) for a in self.arguments]
        words += [f"{key}={_short(value)}" for key, value in self.more.items()]
        return f"{self.verb}({', '.join(words)})"


def _short(value: object) -> str:
    return outline(value) if isinstance(value, SupervisorSpec | WorkerSpec) else repr(value)


# --- trees ------------------------------------------------------------------------------------------------
@st.composite
def trees(draw: st.DrawFn) -> SupervisorSpec:
    """A root with anything below it that the model knows."""
    return draw(supervisors("root", 1))


@st.composite
def supervisors(draw: st.DrawFn, name: str, depth: int) -> SupervisorSpec:
    """One supervisor with its subtree."""
    auto = draw(st.sampled_from(["never", "never", "any_significant", "all_significant"]))
    keys: dict[str, Any] = {
        "intensity": draw(st.sampled_from([0, 1, 2, 3, 3, 3, None])),
        "period": draw(st.sampled_from(PERIODS)),
        "restart": draw(st.sampled_from(["permanent", "permanent", "transient", "temporary"])),
        "shutdown": draw(st.sampled_from(["infinity", "infinity", "brutal_kill"])),
        "auto_shutdown": auto,
    }
    if depth == 1:
        keys["start_failure"] = draw(st.sampled_from(["give_up", "give_up", "retry"]))
    if depth > 1 and draw(st.integers(0, 5)) == 0:
        keys["strategy"] = "simple_one_for_one"
        return supervisor(name, draw(workers("t", "never")), **keys)
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
    backoff = None
    if draw(st.integers(0, 3)) == 0:
        # no two delays are the same, so no two supervisors act at the same moment
        initial = SECOND + draw(st.integers(1, 10**6)) * US
        backoff = Backoff(initial, max_ns=3 * initial, jitter=0.0, reset_after_ns=4 * SECOND)
    return worker(
        name,
        restart=restart,
        significant=matters and draw(st.booleans()),
        shutdown=draw(st.sampled_from(["5s", "5s", "infinity", "brutal_kill", "0s"])),
        backoff=backoff,
    )


# --- histories --------------------------------------------------------------------------------------------
def histories(tree: SupervisorSpec) -> st.SearchStrategy[list[Action]]:
    """What happens to a tree. What makes no sense when its turn comes is skipped."""
    everyone = dict(walk(tree))
    above = [path for path, spec in everyone.items() if isinstance(spec, SupervisorSpec)]
    below = [path for path in everyone if path != tree.name]
    new = [names.join(path, name) for path in above for name in ("n0", "n1")]
    ends = [path for path in [*below, *new] if path not in above]
    reasons = st.sampled_from(REASONS)
    failures = st.lists(st.sampled_from([NOPE, NOPE, SHUTDOWN, None]), min_size=1, max_size=3)
    ops = st.sampled_from(["terminate_child", "restart_child", "delete_child"])
    periods = {spec.period_ns for spec in everyone.values() if isinstance(spec, SupervisorSpec)}
    spans = [p + d for p in sorted(periods) for d in (-1, 0, 1)] + [SECOND + 500 * MS]
    some = st.sampled_from

    anyone = st.integers(0, 20)

    def exits(path: int, reason: ExitReason) -> Action:
        return Action("exits", path, (reason,))

    def call(op: str, path: str, more: tuple[str, ...]) -> Action:
        return Action("call", "", (op, path), more=dict.fromkeys(more, True))

    def add(path: str, spec: WorkerSpec) -> Action:
        spec = worker(
            names.leaf(path), restart=spec.restart, significant=spec.significant, shutdown="5s"
        )
        return Action("call", "", ("start_child", path), {"spec": spec})

    crash = st.builds(exits, anyone, st.just(BOOM))
    return st.lists(
        st.one_of(
            crash,
            crash,
            crash,
            st.builds(exits, anyone, reasons),
            st.builds(lambda path, why: Action("fails", path, tuple(why)), some(below), failures),
            st.builds(lambda path, why: Action("obeys_with", path, (why,)), some(ends), reasons),
            st.builds(call, ops, some([*below, *new]), some([(), ("now",)])),
            st.builds(add, some(ends), workers("n", "any_significant")),
            st.builds(
                lambda op, path: Action("query", "", (op, path)),
                some(["which_children", "count_children"]),
                some(above),
            ),
            st.builds(lambda path: Action("kill_supervisor", path), anyone),
            st.builds(lambda path: Action("suspend", path), anyone),
            st.just(Action("resume")),
            st.builds(lambda span: Action("advance", "", (span,)), some(spans)),
        ),
        min_size=ACTIONS_MIN,
        max_size=ACTIONS_MAX,
    )


# --- playing them -----------------------------------------------------------------------------------------
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_the_core_decides_as_the_naive_model_does(data: st.DataObject) -> None:
    """Starts, ends, reports and answers are the same in the same order, and so is what is left running."""
    tree = data.draw(trees(), label="tree")
    below = [path for path, _ in walk(tree) if path != tree.name]
    failures = st.lists(st.sampled_from([NOPE, SHUTDOWN, None]), min_size=1, max_size=2)
    fails = data.draw(st.dictionaries(st.sampled_from(below), failures, max_size=1), label="fails")
    actions = data.draw(histories(tree), label="history")
    note(outline(tree))
    play(tree, fails, actions)


def play(
    tree: SupervisorSpec, fails: dict[str, list[ExitReason | None]], actions: list[Action]
) -> None:
    """Tell one history to both, and compare what they say."""
    model, node, ordinals = Model(tree, fails), Node(tree, fails=fails), Ordinals()
    compare(model, node, ordinals)
    for drawn in [*actions, Action("resume"), Action("stop")]:
        action = resolved(model, drawn)
        if model.halted or not makes_sense(model, action):
            continue
        note(f"{action!r}")
        action.of(model)
        action.of(node)
        compare(model, node, ordinals)


def resolved(model: Model, action: Action) -> Action:
    """The action with the path of whom it happens to."""
    if action.verb == "resume":
        return replace(action, path=held(model))
    if isinstance(action.path, str):
        return action
    found = model.workers() if action.verb == "exits" else model.supervisors()
    deaf = held(model)
    able = [path for path in found if not deaf or f"{path}/".startswith(f"{deaf}/")]
    return replace(action, path=able[action.path % len(able)] if able else "nobody")


def held(model: Model) -> str:
    """The supervisor that is deaf, or the empty string."""
    return "".join(path for path, each in model.supervisors().items() if each.held)


def makes_sense(model: Model, action: Action) -> bool:
    """Whether this can happen now. Nothing moves outside of a deaf supervisor: it could not be stopped."""
    deaf = held(model)
    path = str(action.path or (action.arguments[1] if action.verb in ("call", "query") else ""))
    asked = names.parent(path) if action.verb == "call" else path
    inside = not deaf or f"{asked}/".startswith(f"{deaf}/")
    match action.verb:
        case "exits":
            return inside and path in model.workers()
        case "call":  # an operator who cuts into the boot of the root: `test_boot`
            supervisors = model.supervisors()
            return inside and asked in supervisors and supervisors[asked].booted
        case "query" | "kill_supervisor":
            return inside and asked in model.supervisors()
        case "suspend":
            return not deaf and path in model.supervisors()
        case "resume":
            return bool(deaf)
        case "advance":
            return not deaf or not model.waiting()
        case _:
            return True


def compare(model: Model, node: Node, ordinals: Ordinals) -> None:
    """The same has been said, and the same is the case."""
    expected, actual = model.told(), ordinals.of(node.told())
    for line in expected:
        note(f"    {line}")
    assert expected == actual
    assert model.halted == (node.halted is not None)
    assert set(model.workers()) == set(node.processes)
    if model.halted:
        return
    for path, each in model.supervisors().items():
        standing = {
            child.path: "up" if child.running else "restarting" if child.restarting else "down"
            for child in each.children
        }
        mine = node.state.supervisors[path].children.values()
        assert standing == {child.path: child.standing.value for child in mine}
        assert list(standing) == [child.path for child in mine]


class Ordinals:
    """The lines of the core with the incarnations of each child counted 1, 2, 3, as the model counts them.

    That they grow is checked here too; by how much is the core's own affair.
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[int]] = {}

    def of(self, lines: list[str]) -> list[str]:
        """The lines rewritten."""
        return [re.sub(r"(root[\w/]*)#(\d+)", self._ordinal, line) for line in lines]

    def _ordinal(self, found: re.Match[str]) -> str:
        path, incarnation = found[1], int(found[2])
        seen = self._seen.setdefault(path, [])
        if incarnation not in seen:
            assert not seen or seen[-1] < incarnation, f"{path}: {incarnation} after {seen[-1]}"
            seen.append(incarnation)
        return f"{path}#{seen.index(incarnation) + 1}"


# --- trees for people -------------------------------------------------------------------------------------
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
