"""A repeated request id is answered, not done again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from supervisord_ng.control.access import Caller
from supervisord_ng.control.answers import Answers
from supervisord_ng.errors import ControlError
from supervisord_ng.model.messages import Request
from tests.control.serving import Peer, serving


def test_a_repeated_command_is_done_once() -> None:
    """The second answer is the first one, over whatever connection it is asked for."""
    done: list[str] = []

    async def handle(_: Caller, request: Request) -> Any:
        done.append(request.id)
        return len(done)

    with serving(handle) as served:
        answers = []
        for _ in range(2):
            with Peer(served.path) as peer:
                peer.send(id="once", verb="restart", args={"paths": ["a"]})
                answers.append(peer.read())
    assert done == ["once"]
    assert answers == [{"id": "once", "ok": True, "result": 1}] * 2


def test_a_repeated_command_joins_the_one_in_progress() -> None:
    """Both wait for one and the same execution."""
    done: list[str] = []
    release = asyncio.Event()

    async def handle(_: Caller, request: Request) -> Any:
        if request.verb == "version":
            return None
        done.append(request.id)
        await release.wait()
        return "done"

    with serving(handle) as served, Peer(served.path) as one, Peer(served.path) as two:
        for peer in (one, two):
            peer.send(id="x", verb="stop")
            peer.send(id="seen", verb="version")
            peer.read()
        served.call(release.set)
        answers = [one.read(), two.read()]
    assert done == ["x"]
    assert answers == [{"id": "x", "ok": True, "result": "done"}] * 2


def test_a_refusal_is_remembered_too() -> None:
    """A command that failed is not tried again under the same id."""
    done: list[str] = []

    async def handle(_: Caller, request: Request) -> Any:
        done.append(request.id)
        raise ControlError("not_found", "cannot stop x: no such child")

    with serving(handle) as served, Peer(served.path) as peer:
        for _ in range(2):
            peer.send(id="x", verb="stop")
            assert peer.read()["error"]["code"] == "not_found"
    assert done == ["x"]


def test_an_id_used_for_something_else_is_refused() -> None:
    """Nobody is told "stopped" because something was started under the same id."""
    done: list[str] = []

    async def handle(_: Caller, request: Request) -> Any:
        done.append(request.verb)

    with serving(handle) as served, Peer(served.path) as peer:
        peer.send(id="1", verb="start", args={"paths": ["a"]})
        assert peer.read()["ok"]
        peer.send(id="1", verb="stop", args={"paths": ["a"]})
        answer = peer.read()
    assert done == ["start"]
    assert answer["error"]["code"] == "bad_request"


def test_reading_is_done_each_time() -> None:
    """A status that is asked for again under the same id is a new status."""
    asked: list[str] = []

    async def handle(_: Caller, request: Request) -> Any:
        asked.append(request.id)
        return len(asked)

    with serving(handle) as served, Peer(served.path) as peer:
        for expected in (1, 2):
            peer.send(id="1", verb="status")
            assert peer.read()["result"] == expected


def in_a_loop(count_max: int, bytes_max: int, sizes: list[int]) -> list[str]:
    """Finish one request for each of `sizes`; return the ids that are still remembered."""

    async def run() -> list[str]:
        answers = Answers(count_max=count_max, bytes_max=bytes_max)
        requests = [Request(id=str(number), verb="stop") for number in range(len(sizes))]
        for request, size in zip(requests, sizes, strict=True):
            answers.begin(0, request)
            answers.finish(0, request, b"x" * size)
        return [request.id for request in requests if answers.find(0, request) is not None]

    return asyncio.run(run())


def test_the_memory_is_bounded_in_number() -> None:
    """The oldest answers go first."""
    assert in_a_loop(2, 1000, [1, 1, 1, 1]) == ["2", "3"]


def test_the_memory_is_bounded_in_bytes() -> None:
    """Large answers push out old ones; one larger than the whole bound is not kept at all."""
    assert in_a_loop(100, 10, [4, 4, 4]) == ["1", "2"]
    assert in_a_loop(100, 10, [4, 11]) == []


def test_requests_in_progress_are_bounded() -> None:
    """Commands that clients began and left behind can not pile up without end."""

    async def run() -> None:
        answers = Answers(count_max=1)
        answers.begin(0, Request(id="1", verb="stop"))
        with pytest.raises(ControlError) as caught:
            answers.begin(0, Request(id="2", verb="stop"))
        assert caught.value.code == "too_many"

    asyncio.run(run())


def test_users_do_not_share_ids() -> None:
    """The same id of another user is another request."""

    async def run() -> bool:
        answers = Answers()
        request = Request(id="1", verb="stop")
        answers.begin(0, request)
        return answers.find(1000, request) is None

    assert asyncio.run(run())
