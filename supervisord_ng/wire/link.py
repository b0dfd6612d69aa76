"""The link between two nodes as bytes (docs/protocol.md): frames to messages and back, for both ends.

    b"SNGL1", then one MessagePack document, a map with "type": one part of a ZeroMQ message

What a peer says is untrusted although its key is known: types, lengths and ranges are checked by the
annotations of `model.link`, and the size of a message by the socket. Fields that are not known are ignored, so
that a later version may say more. Knows nothing of sockets, nor what anybody does with a frame.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from supervisord_ng.errors import ProtocolError
from supervisord_ng.model.link import AnyFromChild, AnyFromParent

MAGIC = b"SNGL1"

_BEGIN = len(MAGIC)  # of the document

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_from_child: msgspec.msgpack.Decoder[AnyFromChild] = msgspec.msgpack.Decoder(AnyFromChild)
_from_parent: msgspec.msgpack.Decoder[AnyFromParent] = msgspec.msgpack.Decoder(AnyFromParent)


def encode(frame: AnyFromChild | AnyFromParent) -> bytes:
    """Turn a frame into a message."""
    return MAGIC + _encoder.encode(frame)


def decode_from_child(message: bytes) -> AnyFromChild:
    """Read what a node below says.

    Raises:
        ProtocolError: this is not a message of this protocol, or not one that a child may send.
    """
    return _decode(_from_child, message)


def decode_from_parent(message: bytes) -> AnyFromParent:
    """Read what the node above says.

    Raises:
        ProtocolError: this is not a message of this protocol, or not one that a parent may send.
    """
    return _decode(_from_parent, message)


def _decode(decoder: msgspec.msgpack.Decoder[T], message: bytes) -> T:
    if message[:_BEGIN] != MAGIC:
        raise ProtocolError(f"cannot read message: it does not begin with {MAGIC.decode()}")
    try:
        return decoder.decode(message[_BEGIN:])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(f"cannot read message: {error}") from error
