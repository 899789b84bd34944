"""Work is started once, however often a client asks for it with the same key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from starlette.exceptions import HTTPException

from ...core.chat.text import MAX_ID
from ...core.errors import Conflict
from ...core.tower.process import Envelope, ProcessControlBlock
from .endpoint import Call

KEY_HEADER = "Idempotency-Key"


async def submit(call: Call[Any, Any], envelope: Envelope) -> ProcessControlBlock:
    """The process of this request, once it is settled or the time to wait is over.

    With the header `Idempotency-Key`, a request of the same user to the same path that was
    accepted before is answered with what became of it. A request id of the client's own does the
    same work, so the key does not count beside it.

    Raises:
        Conflict: the key was used for something else, or the request id is in use.
    """
    tower, wait = call.node.tower, seconds(call)
    key = call.request.headers.get(KEY_HEADER)
    if key is None or envelope.request_id is not None:
        return _process(await tower.submit_request(envelope, wait=wait))
    if not 1 <= len(key) <= MAX_ID:
        raise HTTPException(400, f"{KEY_HEADER} must have 1 to {MAX_ID} characters")
    request_id = str(uuid5(NAMESPACE_URL, f"{call.request.url.path}\n{key}"))
    try:
        return _process(
            await tower.submit_request(replace(envelope, request_id=request_id), wait=wait)
        )
    except Conflict:
        process = await tower.get(call.caller, request_id)
    if process.message != envelope.message or (
        envelope.session_id not in (None, process.session_id)
    ):
        raise Conflict(f"this {KEY_HEADER} was used for another request")
    return await tower.wait(call.caller, process.pid, wait)


def seconds(call: Call[Any, Any]) -> float:
    """How long a call waits for an outcome."""
    return call.node.runtime.settings.rest_wait_seconds


def _process(envelope: Envelope) -> ProcessControlBlock:
    assert envelope.process is not None
    return envelope.process
