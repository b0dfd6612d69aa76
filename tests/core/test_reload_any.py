"""Any tree into any other: a reload ends where a boot would have.

`RELOAD_EXAMPLES=3000` tries that many pairs instead of the few of an ordinary run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from supervisord_ng.core.state import Phase
from supervisord_ng.limits import SECOND
from supervisord_ng.model.spec import ChildSpec, Strategy, SupervisorSpec, WorkerSpec
from tests.core.histories import BACKOFF, outline, trees, workers
from tests.core.node import Node, supervisor
from tests.core.trees import other

EXAMPLES = int(os.environ.get("RELOAD_EXAMPLES", "100"))


@settings(
    deadline=None,
    print_blob=True,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_a_reload_ends_where_a_boot_would_have(data: st.DataObject) -> None:
    """For any tree and any other: booted and reloaded is the same as booted, but for the incarnations."""
    first = data.draw(trees())
    second = data.draw(_other_tree(first))
    note(f"{outline(first)}\n->\n{outline(second)}")
    node, expected = Node(first), Node(second)
    request = node.reload(second)
    assert request in node.reloaded
    assert _tree(expected) == _tree(node)
    assert _alive(expected) == _alive(node)
    assert {"shutdown_error"} >= {report.context.value for report in node.reports}


def _tree(node: Node) -> dict[str, object]:
    """Everything that the state says of a tree, without numbers and times of lives."""
    return {
        path: (
            supervisor.spec,
            supervisor.booted,
            supervisor.plan,
            supervisor.mailbox,
            [
                (child.spec, child.standing, child.phase, child.ready, child.dynamic, child.idle)
                for child in supervisor.children.values()
                if child.phase is not Phase.DOWN
            ],
        )
        for path, supervisor in node.state.supervisors.items()
    }


def _alive(node: Node) -> set[str]:
    return {one.partition("#")[0] for one in node.alive()}


@st.composite
def _other_tree(draw: st.DrawFn, spec: SupervisorSpec) -> SupervisorSpec:
    """The tree with some children gone, some new, some changed, in another order."""
    if spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE:
        return spec
    children: list[ChildSpec] = []
    for drawn in draw(st.permutations(spec.children)):
        child = drawn
        fate = draw(st.sampled_from(["stays", "stays", "goes", "changes", "runs otherwise"]))
        if fate == "goes":
            continue
        if isinstance(child, SupervisorSpec):
            children.append(draw(_other_tree(child)))
            continue
        assert isinstance(child, WorkerSpec)
        if fate == "changes":
            backoff = draw(st.sampled_from([None, BACKOFF]))
            child = replace(child, shutdown=draw(st.sampled_from([SECOND, 0])), backoff=backoff)
        children.append(other(child) if fate == "runs otherwise" else child)
    for name in ("n0", "n1")[: draw(st.integers(0, 2))]:
        new: ChildSpec = draw(workers(name, spec.auto_shutdown))
        if draw(st.booleans()):
            new = supervisor(name, new, strategy="one_for_all")
        children.insert(draw(st.integers(0, len(children))), new)
    strategy = draw(st.sampled_from(list(Strategy)[:3]))
    return replace(
        spec, children=tuple(children), strategy=strategy, intensity=draw(st.integers(0, 3))
    )
