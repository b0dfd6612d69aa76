"""Who is meant by a name, and what a node below can do to those who ask it. Frames are handed over directly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from supervisord_ng.control.access import Caller
from supervisord_ng.control.lines import line_of
from supervisord_ng.core.machine import boot
from supervisord_ng.core.state import Downlink, Uplink
from supervisord_ng.daemon.answering import Answerer
from supervisord_ng.daemon.asking import Asker
from supervisord_ng.daemon.fleet import Fleet, Nodes
from supervisord_ng.errors import ControlError
from supervisord_ng.model.link import Ask, Done, Part
from supervisord_ng.model.messages import Request
from supervisord_ng.model.spec import ParentSpec, RemoteSpec, SupervisorSpec

CALLER = Caller(uid=1, gid=1, pid=2)
WITHIN_S = 60.0


class Member:
    """A node of a fleet, with nothing but what this is about. `says`: what it answers, whatever it is asked."""

    def __init__(
        self, name: str, *below: Member, control: bool = True, says: bytes | None = None
    ) -> None:
        self.name = name
        self.did: list[str] = []
        self._says = says
        self._above: Member | None = None
        self._below = {member.name: member for member in below}
        self.state, _ = boot(
            SupervisorSpec("root"), seed=0, now=0, name=name, boot_id=f"{name}-boot"
        )
        links = {
            member.name: Downlink(member.name, RemoteSpec(member.name, ""), f"{member.name}-boot")
            for member in below
        }
        self.state = msgspec.structs.replace(self.state, downlinks=links)
        self.asker = Asker(lambda: self.state, self._down)
        self.fleet = Fleet(
            lambda: self.state, self.asker, lambda _: None, self.lines, control=control
        )
        self.answerer = Answerer(lambda: self.state, self._up, self.fleet.serve)
        for member in below:
            member.join(self)

    def join(self, above: Member) -> None:
        """Be below another node."""
        self._above = above
        uplink = Uplink(ParentSpec("", ""), f"{above.name}-boot")
        self.state = msgspec.structs.replace(self.state, uplink=uplink)

    def lose(self, name: str) -> None:
        """The link to a node below goes down."""
        link = msgspec.structs.replace(self.state.downlinks[name], peer=None)
        self.state = msgspec.structs.replace(
            self.state, downlinks=self.state.downlinks | {name: link}
        )

    async def lines(self, _: Caller, request: Request) -> AsyncGenerator[bytes]:
        """What this node answers."""
        if self._says is not None:
            yield self._says
            return
        if request.verb == "nodes":
            found = await self.fleet.nodes(request.args["within_s"])
            yield line_of({"id": request.id, "ok": True, "result": Nodes(tuple(found))})
            return
        self.did.append(request.verb)
        yield line_of({"id": request.id, "ok": True, "result": self.name})

    async def ask(self, node: str, verb: str = "version") -> Any:
        """What an operator here is answered by another node."""
        outcome = self.fleet.forward(CALLER, Request("1", verb, {}, node))
        assert not isinstance(outcome, AsyncGenerator)
        return msgspec.json.decode(await outcome)  # type: ignore[misc]

    def _down(self, name: str, frame: Ask | Done) -> None:
        asyncio.get_running_loop().call_soon(self._below[name].answerer.heard, frame)

    def _up(self, frame: Part) -> None:
        assert self._above is not None
        asyncio.get_running_loop().call_soon(self._above.asker.heard, self.name, frame)


def refusal(top: Member, node: str, verb: str = "version") -> ControlError:
    """Why a request is refused."""
    with pytest.raises(ControlError) as refused:
        asyncio.run(top.ask(node, verb))
    return refused.value


def test_a_name_or_the_end_of_a_path_will_do() -> None:
    """As long as one node only is meant; otherwise all that could be are named."""
    east = Member("east", Member("db"), Member("web"))
    top = Member("top", east, Member("west", Member("db")))

    wanted = {"web": "web", "east/db": "db", "top/west/db": "db", "top": "top", "west": "west"}
    assert wanted == {node: asyncio.run(top.ask(node)) for node in wanted}
    ambiguous = refusal(top, "db")
    assert ("bad_request", "say top/east/db or top/west/db") == (ambiguous.code, ambiguous.hint)
    assert "not_found" == refusal(top, "nobody").code
    assert "not_found" == refusal(top, "west/web").code


def test_what_cannot_be_reached_is_said() -> None:
    """Also that a node that nobody knows may be behind a link that is down."""
    east = Member("east", Member("db"))
    top = Member("top", east, Member("west"))
    east.lose("db")

    assert "no_link" == refusal(top, "db").code
    unknown = refusal(top, "nobody")
    assert "no_link" == unknown.code
    assert "east/db: no link since" in str(unknown.hint)


@pytest.mark.parametrize(
    "rubbish", [b"rubbish\n", b'{"ok": true, "result": 1}\n', b'{"nodes": 1}\n', b"", b"\xff\n"]
)
def test_rubbish_from_below_disturbs_nobody(rubbish: bytes) -> None:
    """A node that answers rubbish is silent; the others are reached, and their status is told."""
    top = Member("top", Member("bad", says=rubbish), Member("good", Member("leaf")))

    assert "leaf" == asyncio.run(top.ask("leaf"))
    links = {
        status["node"]: status["link"]["state"]
        for status in asyncio.run(top.fleet.statuses(WITHIN_S))
    }
    assert "silent" == links["bad"]


def test_orders_pass_only_through_nodes_that_allow_them() -> None:
    """`control = false` counts for a node and for what is below it; reading is allowed."""
    leaf = Member("leaf")
    top = Member("top", Member("mid", leaf, control=False))

    for node in ("mid", "leaf"):
        refused = refusal(top, node, "stop")
        assert ("denied", True) == (refused.code, "node mid takes no orders" in refused.message)
        assert node == asyncio.run(top.ask(node, "version"))
    assert ["version"] == leaf.did
