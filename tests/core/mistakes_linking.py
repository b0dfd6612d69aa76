"""Known mistakes between nodes, of daemons that are killed above all: only the simulated fleet has links."""

from __future__ import annotations

from tests.core.mistake import one

LINKS = {
    "the next daemon does not know which tree ran below": one(
        "resume", "phase=Phase.LOST, ready=True,", "phase=Phase.LOST, life=None,", first="fleet"
    ),
    "the next daemon does not know the name of its tree": one(
        "machine", "life=memory.node.life,", "life=None,", first="fleet"
    ),
    "a tree that gave up is started by every word of its parent": one(
        "uplink",
        "order.generation > known and not root.alive",
        "not root.alive",
        first="fleet",
    ),
    "reports that were under way are not sent over a new link": one(
        "uplink",
        "outbox=outbox.linked_up(turn, _uplink(turn).outbox)",
        "seq=_uplink(turn).seq",
        first="fleet",
    ),
    "the next daemon does not ask how far the reports have come": one(
        "remote", "if same else hello.acked", "if same else link.taken", first="fleet"
    ),
    "a node below is held for linked by the next daemon": one(
        "resume",
        "return replace(child, phase=Phase.LOST, ready=True, asked=False, deadline=None)",
        "return child",
        first="fleet",
    ),
    "a silence takes the tree below for ended": one(
        "remote", 'link.spec.on_lost == "exit" and not orderly', "not orderly", first="fleet"
    ),
}
