"""Work is started once, however often a client asks for it with the same key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.exceptions import HTTPException

from ...core.chat.text import MAX_ID
from ...core.tower.process import Envelope, ProcessControlBlock
from .endpoint import Call

KEY_HEADER = "Idempotency-Key"


async def submit(call: Call[Any, Any], envelope: Envelope) -> ProcessControlBlock:
    """The process of this request, once it is settled or the time to wait is over.

    With the header `Idempotency-Key`, a request of the same user that was accepted before is
    answered with what became of it. A request id of the client's own does part of that work: with
    it a request is done once as well, but who sends it again is refused. So it is one or the other.

    Raises:
        HTTPException: the key is too long or too short, or stands beside a request id; 400.
        Conflict: the key was used for something else, or the request id is in use.
    """
    key = call.request.headers.get(KEY_HEADER)
    if key is not None:
        if envelope.request_id is not None:
            raise HTTPException(400, f"send either {KEY_HEADER} or context.request_id, not both")
        if not 1 <= len(key) <= MAX_ID:
            raise HTTPException(400, f"{KEY_HEADER} must have 1 to {MAX_ID} characters")
        envelope = replace(envelope, idempotency_key=key)
    done = await call.node.tower.submit_request(envelope, wait=seconds(call))
    assert done.process is not None
    return done.process


def seconds(call: Call[Any, Any]) -> float:
    """How long a call waits for an outcome."""
    return call.node.runtime.settings.rest_wait_seconds
