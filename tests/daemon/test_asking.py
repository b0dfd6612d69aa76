"""Requests between nodes: whatever becomes of single frames, the answer arrives whole, once and in order."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from supervisord_ng import limits
from supervisord_ng.control.access import Caller
from supervisord_ng.core.machine import boot
from supervisord_ng.core.state import Downlink, NodeState, Uplink
from supervisord_ng.daemon.answering import Answerer
from supervisord_ng.daemon.asking import Asker
from supervisord_ng.errors import ControlError
from supervisord_ng.model.link import Ask, Done, Part
from supervisord_ng.model.spec import ParentSpec, RemoteSpec, SupervisorSpec

SEED = int(os.environ.get("SEED", random.SystemRandom().getrandbits(32)))
CALLER = Caller(uid=1, gid=1, pid=2)
Serve = Callable[[Ask], AsyncGenerator[bytes]]


def node(name: str, **links: Any) -> NodeState:
    """The state of a node with these links and nothing else."""
    state, _ = boot(SupervisorSpec("root"), seed=0, now=0, name=name, boot_id=f"{name}-1")
    return msgspec.structs.replace(state, **links)


class Pair:
    """A parent that asks and a child that answers, joined by a link that loses, repeats and reorders."""

    def __init__(self, chance: random.Random, serve: Serve, fault: float) -> None:
        self.above = node(
            "top", downlinks={"leaf": Downlink("root/leaf", RemoteSpec("leaf", ""), "leaf-1")}
        )
        self.below = node("leaf", uplink=Uplink(ParentSpec("", ""), "top-1"))
        self.frames = 0
        self._chance = chance
        self._fault = fault
        self.asker = Asker(lambda: self.above, lambda _, frame: self._carry(frame, self._down))
        self.answerer = Answerer(
            lambda: self.below, lambda frame: self._carry(frame, self._up), serve
        )

    def cut(self) -> None:
        """The link goes down, and both sides know."""
        self.above.downlinks["leaf"] = msgspec.structs.replace(
            self.above.downlinks["leaf"], peer=None
        )
        self.asker.link_lost("leaf")
        self.answerer.link_lost()

    def ask(self, request: bytes = b"{}") -> AsyncGenerator[bytes]:
        """A request of an operator at the parent."""
        return self.asker.ask("leaf", (), "top", CALLER, request)

    def _carry(self, frame: Any, deliver: Callable[[Any], None]) -> None:
        loop = asyncio.get_running_loop()
        self.frames += 1
        if self._chance.random() < self._fault:
            return
        for _ in range(2 if self._chance.random() < self._fault else 1):
            late = self._chance.random() * 0.005 if self._chance.random() < self._fault else 0.0
            loop.call_later(late, deliver, frame)

    def _down(self, frame: Ask | Done) -> None:
        self.answerer.heard(frame)

    def _up(self, frame: Part) -> None:
        self.asker.heard("leaf", frame)


async def whole(pieces: AsyncGenerator[bytes]) -> bytes:
    """All pieces put together."""
    async with aclosing(pieces):
        return b"".join([piece async for piece in pieces])


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINK_ASK_AGAIN_NS", 10 * limits.MS)
    monkeypatch.setattr(limits, "LINK_PART_MAX", 100)


def test_an_answer_arrives_whole_whatever_becomes_of_frames() -> None:
    """Lost, repeated and late frames change nothing but the time; the request is begun once."""
    chance = random.Random(SEED)
    answers = [chance.randbytes(chance.randint(0, 3_000)) for _ in range(20)]
    begun: list[int] = []

    async def serve(ask: Ask) -> AsyncGenerator[bytes]:
        answer = answers[int(ask.request)]
        begun.append(int(ask.request))
        at = 0
        while at < len(answer):
            size = chance.randint(1, 300)
            yield answer[at : at + size]
            at += size
            await asyncio.sleep(0)

    async def run() -> list[bytes]:
        pair = Pair(chance, serve, fault=0.3)
        asking = [whole(pair.ask(str(number).encode())) for number in range(len(answers))]
        return list(await asyncio.gather(*asking))

    assert answers == asyncio.run(run()), f"{SEED=}"
    assert sorted(begun) == list(range(len(answers))), f"{SEED=}"


def test_a_slow_reader_slows_the_answer_down() -> None:
    """No more is made than the window and a piece; it goes on when somebody reads."""
    made: list[int] = []

    async def serve(_: Ask) -> AsyncGenerator[bytes]:
        for number in range(1_000):
            made.append(number)
            yield b"x" * 100

    async def run() -> tuple[int, int]:
        pair = Pair(random.Random(SEED), serve, fault=0.0)
        async with aclosing(pair.ask()) as pieces:
            await anext(pieces)
            while not made or pair.frames < limits.LINK_PARTS_WINDOW:
                await asyncio.sleep(0)
            early = len(made)
            rest = [piece async for piece in pieces]
        return early, sum(map(len, rest))

    early, read = asyncio.run(run())
    assert early <= limits.LINK_PARTS_WINDOW + 3
    assert 1_000 * 100 - 100 == read


def test_nobody_waits_when_the_link_goes() -> None:
    """Neither the operator nor the work at the other end; what became of a command is not known."""
    ended = asyncio.Event()

    async def serve(_: Ask) -> AsyncGenerator[bytes]:
        try:
            yield b"begun"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def run() -> ControlError:
        pair = Pair(random.Random(SEED), serve, fault=0.0)
        async with aclosing(pair.ask()) as pieces:
            assert b"begun" == await anext(pieces)
            pair.cut()
            with pytest.raises(ControlError) as lost:
                await anext(pieces)
        await ended.wait()
        with pytest.raises(ControlError) as refused:
            await whole(pair.ask())
        assert "no_link" == refused.value.code
        return lost.value

    lost = asyncio.run(run())
    assert "failed" == lost.code
    assert "whether it was done is not known" in str(lost)


def test_a_stream_ends_with_its_reader() -> None:
    """Whoever follows events of another node and leaves is not followed any more."""
    ended = asyncio.Event()

    async def serve(_: Ask) -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"more"
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def run() -> None:
        pair = Pair(random.Random(SEED), serve, fault=0.0)
        async with aclosing(pair.ask()) as pieces:
            await anext(pieces)
        await asyncio.wait_for(ended.wait(), 60)

    asyncio.run(run())


def test_requests_on_one_link_are_bounded() -> None:
    """More than so many at a time are refused; a request has a largest size."""

    async def serve(_: Ask) -> AsyncGenerator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def run() -> list[str]:
        pair = Pair(random.Random(SEED), serve, fault=0.0)
        asking = [asyncio.ensure_future(whole(pair.ask())) for _ in range(limits.LINK_ASKS_MAX)]
        await asyncio.sleep(0)
        codes = []
        for request in (b"{}", b" " * (limits.LINK_ASK_MAX + 1)):
            with pytest.raises(ControlError) as refused:
                await whole(pair.ask(request))
            codes.append(refused.value.code)
        pair.cut()
        await asyncio.gather(*asking, return_exceptions=True)
        return codes

    assert ["too_many", "bad_request"] == asyncio.run(run())
