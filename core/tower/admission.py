"""At the tower's door: which requests come in, and as what."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Any, get_args

import orjson
import structlog

from ..capabilities import OnBusy, OrchestratorSpec
from ..chat.records import Session
from ..chat.service import ChatService
from ..chat.text import MAX_ID, MAX_MESSAGE, MAX_SESSION_ID, OWN_SESSION, checked
from ..clock import now, to_datetime
from ..errors import InvalidInput, MissionError, NotFound
from ..identity import new_id
from ..nesting import MAX_NESTING, nested_too_deep
from .process import (
    Envelope,
    ProcessControlBlock,
    ProcessState,
    Quota,
    SchedulingPriority,
    Usage,
)

log = structlog.get_logger(__name__)
MAX_CONTEXT = 64 * 1024  # bytes of JSON
TOO_DEEP = f"is nested deeper than {MAX_NESTING} levels"


def default_session(user_id: str) -> str:
    """The session of a request that names none. Ids are unique per user, so nothing collides."""
    return f"{OWN_SESSION}{user_id}"


def check_request(envelope: Envelope) -> Envelope:
    """What a surface has not checked. Gives the request with its context in JSON types only, as
    every later run will read it.

    Raises:
        InvalidInput: naming the field.
    """
    checked("message", envelope.message, longest=MAX_MESSAGE)
    if envelope.session_id is not None:
        checked("session_id", envelope.session_id, longest=MAX_SESSION_ID)
    if envelope.request_id is not None:
        checked("request_id", envelope.request_id, longest=MAX_ID)
    if envelope.on_busy not in (None, *get_args(OnBusy)):
        raise InvalidInput("on_busy", f"choose one of: {', '.join(get_args(OnBusy))}")
    if not envelope.context:
        return envelope
    try:
        context = orjson.dumps(envelope.context)
    except orjson.JSONEncodeError as error:
        if "recursion" in str(error).lower():  # deeper still than what is looked for below
            raise InvalidInput("context", TOO_DEEP) from None
        raise InvalidInput("context", f"is not JSON: {error}") from None
    if len(context) > MAX_CONTEXT:
        text = f"has {len(context)} bytes of JSON, at most {MAX_CONTEXT} are taken"
        raise InvalidInput("context", text)
    if nested_too_deep(envelope.context):  # last: of a larger one, the loop would wait for this
        raise InvalidInput("context", TOO_DEEP)
    return replace(envelope, context=orjson.loads(context))


async def find_session(chat: ChatService, envelope: Envelope) -> Session | None:
    """The session that the request is for; None where it is to be created.

    Raises:
        NotFound: it is not the caller's, or was deleted.
    """
    if envelope.session_id is None:
        return None
    try:
        session = await chat.get_session(envelope.caller, envelope.session_id)
    except NotFound:
        if envelope.create_session:
            return None
        raise
    if session.deleted_at is not None:
        raise NotFound("session", envelope.session_id)
    return session


def new_process(
    envelope: Envelope, spec: OrchestratorSpec, quota: Quota, priority: SchedulingPriority
) -> ProcessControlBlock:
    """A process for this request, not stored yet."""
    pid = new_id()
    return ProcessControlBlock(
        pid=pid,
        request_id=envelope.request_id or pid,
        session_id=envelope.session_id or str(uuid.uuid4()),
        user_id=envelope.caller.user_id,
        capability=spec.name,
        version=spec.version,
        message=envelope.message,
        message_id=0,  # known once it is stored
        state=ProcessState.NEW,
        priority=priority,
        quota=quota,
        usage=Usage(),
        epoch=0,
        created_at=to_datetime(now()),
    )


def report_lost(task: asyncio.Task[Any]) -> None:
    """Nobody else looks at the outcome of what was done for a caller who has left."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, MissionError):
        log.error("a request failed after its caller had left", exc_info=error)
