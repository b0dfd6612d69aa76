"""The control protocol: one JSON document a line over the Unix socket. See docs/control-protocol.md.

A request ``{"id", "verb", "args"}`` is answered by ``{"id", "ok": true, "result"}`` or ``{"id", "ok": false,
"error": {"code", "message", "hint"}}``; streams send ``{"id", "item"}`` and end with ``{"id", "ok": true,
"end": true}``. Ids are the client's, up to 128 characters; a repeated id of the same user is answered from
memory and not done again.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Request(msgspec.Struct, frozen=True):
    """One request line. `node` is for another node than this one, see `sng --node`."""

    id: str
    verb: str
    args: dict[str, Any] = {}
    node: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """Why a request was refused or failed; `code` is one of `errors.ControlError`."""

    code: str
    message: str
    hint: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """One line of an answer, as another daemon reads it: what it carries is only passed on."""

    ok: bool = True
    result: msgspec.Raw = msgspec.Raw(b"")
    item: msgspec.Raw = msgspec.Raw(b"")
    error: ErrorBody | None = None
