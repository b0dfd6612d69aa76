"""Crash reports between nodes: what is packed comes out, and nothing else does."""

from __future__ import annotations

import zlib

import pytest

from supervisord_ng.errors import ProtocolError
from supervisord_ng.wire import parcel


@pytest.mark.parametrize("reports", [[], [b"{}"], [b'{"id": 1}', b'{"id": 2}', b"x" * 100_000]])
def test_what_is_packed_comes_out(reports: list[bytes]) -> None:
    """In its order."""
    assert reports == parcel.unpack(*parcel.pack(reports))


def test_the_bytes_of_a_parcel_are_fixed() -> None:
    """Lines of JSON in zlib's format: what any other implementation can read and write."""
    assert (b'{"id":"a"}\n{"id":"b"}', 21) == (
        zlib.decompress(parcel.pack([b'{"id":"a"}', b'{"id":"b"}'])[0]),
        parcel.pack([b'{"id":"a"}', b'{"id":"b"}'])[1],
    )


@pytest.mark.parametrize(
    ("packed", "size"),
    [
        (b"rubbish", 7),
        (zlib.compress(b"x" * 10_000_000), 100),
        (zlib.compress(b"abc"), 4),
        (zlib.compress(b"abc")[:-1], 3),
        (zlib.compress(b"abc") + b"more", 3),
        (b"", 0),
    ],
    ids=[
        "no zlib",
        "grows further than it says",
        "less than it says",
        "cut",
        "more behind",
        "empty",
    ],
)
def test_a_parcel_that_is_not_what_it_claims_is_refused(packed: bytes, size: int) -> None:
    """It is never unpacked beyond its claim, so a bomb costs nothing."""
    with pytest.raises(ProtocolError):
        parcel.unpack(packed, size)
