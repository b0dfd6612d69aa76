"""The lines that a daemon answers with, as bytes. See docs/control-protocol.md."""

from __future__ import annotations

from typing import Any

import msgspec

from supervisord_ng.errors import ControlError
from supervisord_ng.model.messages import ErrorBody


def bad_request(why: str) -> ControlError:
    """The refusal of a line that is no request."""
    return ControlError(
        "bad_request",
        f"cannot read the request: {why}",
        'a request is one line of JSON: {"id": "1", "verb": "status", "args": {}}',
    )


def refused(request_id: str | None, error: ControlError) -> bytes:
    """The line that says why not."""
    body = ErrorBody(code=error.code, message=error.message, hint=error.hint)
    return line_of({"id": request_id, "ok": False, "error": body})


def line_of(document: dict[str, Any]) -> bytes:
    """A document of ours as it goes to the client."""
    return msgspec.json.encode(document) + b"\n"
