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
    answered with what became of it. A request id of the client's own does the same work, so the
    key does not count beside it.

    Raises:
        Conflict: the key was used for something else, or the request id is in use.
    """
    key = call.request.headers.get(KEY_HEADER)
    if key is not None and envelope.request_id is None:
        if not 1 <= len(key) <= MAX_ID:
            raise HTTPException(400, f"{KEY_HEADER} must have 1 to {MAX_ID} characters")
        envelope = replace(envelope, idempotency_key=key)
    done = await call.node.tower.submit_request(envelope, wait=seconds(call))
    assert done.process is not None
    return done.process


def seconds(call: Call[Any, Any]) -> float:
    """How long a call waits for an outcome."""
    return call.node.runtime.settings.rest_wait_seconds
