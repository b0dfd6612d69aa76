"""Frames of the link: there and back, the bytes of this version, and what is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisord_ng.errors import ProtocolError
from supervisord_ng.model import link
from supervisord_ng.model.exits import SHUTDOWN
from supervisord_ng.wire.link import MAGIC, decode_from_child, decode_from_parent, encode

TREE = link.TreeNow("up", "b1.1", "b0", 3)
ORDER = link.Order("run", 3)
FROM_CHILD: list[link.AnyFromChild] = [
    link.Hello("edge", "b1", 1, link.TreeNow("down", None, None, 0, SHUTDOWN), 10**9, 7),
    link.ChildBeat("b1", 2, "b0", TREE),
    link.Goodbye("b1", 3, "b0"),
    link.Reports("b1", "b0", 7, 9, 1234, b"packed"),
    link.Part("b1", "b0", 1, 1, b"{}\n", end=True),
]
FROM_PARENT: list[link.AnyFromParent] = [
    link.Welcome("top", "b0", 1, "b1", 1, ORDER, 10**9),
    link.ParentBeat("b0", 2, "b1", ORDER),
    link.Goodbye("b0", 3, "b1"),
    link.Ack("b0", 4, "b1", 9),
    link.Ask("b0", "b1", 1, 0, ("leaf",), "top", 0, 1, b"{}"),
    link.Done("b0", "b1", 1),
    link.Refused("a node edge with this key is connected already"),
]


def kind(frame: msgspec.Struct) -> str:
    """The name of a frame."""
    return type(frame).__name__


@pytest.mark.parametrize("frame", FROM_CHILD, ids=kind)
def test_what_a_child_says_arrives_as_said(frame: link.AnyFromChild) -> None:
    """Every kind of frame from below."""
    assert frame == decode_from_child(encode(frame))


@pytest.mark.parametrize("frame", FROM_PARENT, ids=kind)
def test_what_a_parent_says_arrives_as_said(frame: link.AnyFromParent) -> None:
    """Every kind of frame from above."""
    assert frame == decode_from_parent(encode(frame))


def test_these_are_the_bytes() -> None:
    """Version 1 of a beat; another implementation may have been written by them."""
    beat = link.ParentBeat("b0", 2, "b1", ORDER)
    expected = {
        "type": "parent_beat",
        "boot": "b0",
        "seq": 2,
        "to": "b1",
        "order": {"wanted": "run", "generation": 3},
    }
    message = encode(beat)
    assert b"SNGL1" == message[:5]
    assert expected == msgspec.msgpack.decode(message[5:])


def test_fields_of_a_later_version_are_ignored() -> None:
    """So that it may say more."""
    more = msgspec.to_builtins(FROM_CHILD[1]) | {"load": 0.5}
    assert FROM_CHILD[1] == decode_from_child(MAGIC + msgspec.msgpack.encode(more))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node", "a b"),
        ("node", "x" * 65),
        ("node", "edge\n"),
        ("boot", ""),
        ("boot", "b" * 129),
        ("seq", -1),
        ("seq", 2**63),
        ("interval_ns", 0),
        ("acked", "7"),
        ("tree", {"state": "sideways", "life": None, "tenure": None, "generation": 0}),
        ("type", "welcome"),
    ],
)
def test_what_is_out_of_range_is_refused(field: str, value: object) -> None:
    """Names, marks, numbers, intervals, words."""
    said = msgspec.to_builtins(FROM_CHILD[0]) | {field: value}
    with pytest.raises(ProtocolError, match="cannot read message"):
        decode_from_child(MAGIC + msgspec.msgpack.encode(said))


@given(st.binary(max_size=200), st.sampled_from([MAGIC, b""]))
def test_any_bytes_are_a_frame_or_refused(noise: bytes, begin: bytes) -> None:
    """Nothing but ProtocolError comes out."""
    message = begin + noise
    for decode in (decode_from_child, decode_from_parent):
        try:
            decode(message)
        except ProtocolError:
            continue


def test_depth_is_bounded() -> None:
    """A document of a hundred thousand levels is refused as any other."""
    for noise in (b"\x91", b"\x81\xa1a"):
        with pytest.raises(ProtocolError):
            decode_from_child(MAGIC + b"\x82\xa4type\xa5hello\xa1x" + noise * 100_000)
