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
    """One request line."""

    id: str
    verb: str
    args: dict[str, Any] = {}


class ErrorBody(msgspec.Struct, frozen=True):
    """Why a request was refused or failed; `code` is one of `errors.ControlError`."""

    code: str
    message: str
    hint: str | None = None
