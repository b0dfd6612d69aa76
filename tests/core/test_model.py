"""The core decides as the naive model does: random trees, random histories, the same lines in the same order.

`NAIVE_EXAMPLES=5000` plays that many histories instead of the few of an ordinary run.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from itertools import zip_longest

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from supervisord_ng.core.state import Phase
from supervisord_ng.model import names
from supervisord_ng.model.exits import SHUTDOWN, ExitReason
from supervisord_ng.model.spec import SupervisorSpec, WorkerSpec
from tests.core.histories import AGAIN, Action, histories, outline, trees
from tests.core.model_nouns import Child, Process
from tests.core.model_world import Model
from tests.core.node import NOPE, Node, walk

EXAMPLES = int(os.environ.get("NAIVE_EXAMPLES", "300"))


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
    history(data)


def history(data: st.DataObject) -> None:
    """One tree, one history, told to both."""
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
    model, node, ordinals = Model(tree, fails), Node(tree, fails=fails, beating=True), Ordinals()
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
    found = list(model.supervisors())
    if action.verb in ("exits", "hangs", "late", "obeys_with", "keeps_stacks"):
        found = [
            path for path, each in model.workers().items() if action.verb != "hangs" or beats(each)
        ]
    if action.path == AGAIN and model.ended_last in found:
        return replace(action, path=model.ended_last)
    deaf = held(model)
    able = [path for path in found if not deaf or f"{path}/".startswith(f"{deaf}/")]
    return replace(action, path=able[action.path % len(able)] if able else "nobody")


def beats(process: Process) -> bool:
    """Whether the worker gives signs of life."""
    assert isinstance(process.spec, WorkerSpec)
    return process.spec.heartbeat is not None and process.silent is None


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
        case "exits" | "hangs" | "late":
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
    assert expected == actual, difference(expected, actual)
    assert model.halted == (node.halted is not None)
    assert set(model.workers()) == set(node.processes)
    if model.halted:
        return
    for path, each in model.supervisors().items():
        theirs = {child.path: (_standing(child), child.due) for child in each.children}
        ours = node.state.supervisors[path].children.values()
        waits = {child.path: child.deadline for child in ours if child.phase is Phase.DOWN}
        mine = {child.path: (child.standing.value, waits.get(child.path)) for child in ours}
        assert list(theirs.items()) == list(mine.items()), f"{path}: {theirs}, the core {mine}"


def _standing(child: Child) -> str:
    if child.running is not None:
        return "up"
    return "restarting" if child.restarting else "down"


def difference(expected: list[str], actual: list[str]) -> str:
    """The first line that is not the same."""
    for said, core in zip_longest(expected, actual, fillvalue="nothing"):
        if said != core:
            return f"the model says {said!r}, the core {core!r}"
    return ""


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
