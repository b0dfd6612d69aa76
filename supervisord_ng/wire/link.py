"""The link between two nodes as bytes (docs/protocol.md): frames to messages and back, for both ends.

    b"SNGL1" | one MessagePack document, a map with "type"

What a peer says is untrusted although its key is known: types, lengths and ranges are checked by the
annotations of `model.link`, and the size of a message by the socket. Fields that are not known are ignored, so
that a later version may say more. Knows nothing of sockets, nor what anybody does with a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from supervisord_ng.errors import ProtocolError
from supervisord_ng.model.link import AnyFromChild, AnyFromParent

MAGIC = b"SNGL1"

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_from_child: msgspec.msgpack.Decoder[AnyFromChild] = msgspec.msgpack.Decoder(AnyFromChild)
_from_parent: msgspec.msgpack.Decoder[AnyFromParent] = msgspec.msgpack.Decoder(AnyFromParent)


def encode(frame: AnyFromChild | AnyFromParent) -> list[bytes]:
    """Turn a frame into the parts of a ZeroMQ message."""
    return [MAGIC, _encoder.encode(frame)]


def decode_from_child(parts: Sequence[bytes]) -> AnyFromChild:
    """Read what a node below says.

    Raises:
        ProtocolError: this is not a message of this protocol, or not one that a child may send.
    """
    return _decode(_from_child, parts)


def decode_from_parent(parts: Sequence[bytes]) -> AnyFromParent:
    """Read what the node above says.

    Raises:
        ProtocolError: this is not a message of this protocol, or not one that a parent may send.
    """
    return _decode(_from_parent, parts)


def _decode(decoder: msgspec.msgpack.Decoder[T], parts: Sequence[bytes]) -> T:
    if len(parts) != 2 or parts[0] != MAGIC:
        raise ProtocolError(f"cannot read message: not {MAGIC.decode()} and one document")
    try:
        return decoder.decode(parts[1])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(f"cannot read message: {error}") from error
