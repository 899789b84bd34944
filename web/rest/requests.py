"""Requests, their questions and their state."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException

from ...core.chat.text import MAX_ID, checked, known_form
from ...core.errors import Conflict, InvalidInput, NotFound
from ...core.tower.admission import default_session
from ...core.tower.metrics import TowerMetrics
from ...core.tower.process import (
    ASKED_AS_TEXT,
    Envelope,
    Interrupt,
    InterruptKind,
    ProcessControlBlock,
    ProcessState,
)
from .endpoint import Call, Endpoint, Nothing
from .models import (
    ClarificationSubmit,
    ConfirmationSubmit,
    MetricsResponse,
    RequestStatus,
    SubmitRequest,
    SubmitRequestResponse,
)
from .outcome import ENDED, asked, request_outcome
from .parameters import OfRequest
from .submission import seconds, submit

API = "/api/v1"


async def submit_request(call: Call[Nothing, SubmitRequest]) -> SubmitRequestResponse:
    """Send a request and wait for what comes of it.

    `context.capability` chooses who answers, `context.request_id` names the request. A session
    that the user does not have is created; the history that counts is the session's own. The
    header `Idempotency-Key` makes it safe to send again: the work is done once.
    """
    given = call.body
    context = given.context or {}
    envelope = Envelope(
        caller=call.caller,
        message=given.user_message,
        session_id=given.session_id or default_session(given.user_id),
        create_session=True,
        capability=_text(context, "capability"),
        request_id=_text(context, "request_id"),
        context=context,
    )
    return request_outcome(await submit(call, envelope))


async def answer_confirmation(call: Call[Nothing, ConfirmationSubmit]) -> SubmitRequestResponse:
    """Approve or decline an action that a request holds back, and wait for what comes of it."""
    given = call.body
    process = await call.node.tower.resume_request(
        call.caller,
        known_form("confirmation", given.confirmation_id),
        given.user_response,
        kind=InterruptKind.CONFIRMATION,
        wait=seconds(call),
    )
    return request_outcome(process)


async def answer_clarification(call: Call[Nothing, ClarificationSubmit]) -> SubmitRequestResponse:
    """Answer the question of a thread, and wait for what comes of it."""
    question = await _question(call)
    process = await call.node.tower.resume_request(
        call.caller,
        question.id,
        call.body.clarification,
        kind=question.kind,
        wait=seconds(call),
    )
    return request_outcome(process)


async def request_status(call: Call[OfRequest, Nothing]) -> dict[str, Any]:
    """Where a request is, by its request id, its pid or its thread."""
    tower, bound = call.node.tower, call.admitted is not None and call.admitted.role == "user"
    try:
        id = known_form("request", call.params.pid)
        process = await (tower.get(call.caller, id) if bound else tower.get_anyones(id))
    except NotFound:
        raise HTTPException(404, f"Request not found: {call.params.pid}") from None
    pending = process.pending
    return {
        "pid": process.pid,
        "state": _state(process),
        "priority": process.priority.value,
        "current_stage": process.stage,
        "created_at": process.created_at,
        "started_at": process.started_at,
        "completed_at": process.completed_at,
        "resource_usage": process.usage,
        "quota": process.quota,
        "pending_interrupt": pending.kind.value if pending is not None else None,
    }


async def metrics(call: Call[Nothing, Nothing]) -> TowerMetrics:
    """The Control Tower in numbers, over all users."""
    return await call.node.tower.metrics()


def _state(process: ProcessControlBlock) -> str:
    """To clients a request waits for its user whichever of its processes has asked."""
    if process.state in ENDED:
        return ProcessState.TERMINATED.value
    if process.awaits_child and process.pending is not None:
        return ProcessState.WAITING.value
    return process.state.value


async def _question(call: Call[Nothing, ClarificationSubmit]) -> Interrupt:
    """The question that a thread waits on; a question's own id will do too."""
    tower, thread = call.node.tower, known_form("thread", call.body.thread_id)
    try:
        process = await tower.get(call.caller, thread)
    except NotFound:
        question = await tower.get_interrupt(call.caller, thread)
        if question.kind not in ASKED_AS_TEXT:
            raise NotFound("thread", thread) from None
        return question
    found = asked(process, ASKED_AS_TEXT)
    if found is None:
        if not await tower.has_asked(process, ASKED_AS_TEXT):
            raise NotFound("thread", thread)
        raise Conflict("this thread waits for no clarification: it was answered, or has expired")
    return found


def _text(context: dict[str, Any], name: str) -> str | None:
    value = context.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"context.{name}", "must be a string")
    return checked(f"context.{name}", value, longest=MAX_ID)


endpoints = (
    Endpoint(
        "POST",
        f"{API}/requests",
        submit_request,
        Nothing,
        SubmitRequest,
        SubmitRequestResponse,
        fails=(404, 409, 429),
        once=True,
    ),
    Endpoint(
        "POST",
        f"{API}/confirmations",
        answer_confirmation,
        Nothing,
        ConfirmationSubmit,
        SubmitRequestResponse,
        fails=(404, 409, 429),
    ),
    Endpoint(
        "POST",
        f"{API}/chat/clarifications",
        answer_clarification,
        Nothing,
        ClarificationSubmit,
        SubmitRequestResponse,
        fails=(404, 409, 429),
    ),
    Endpoint(
        "GET",
        f"{API}/requests/{{pid}}/status",
        request_status,
        OfRequest,
        Nothing,
        RequestStatus,
        fails=(404,),
    ),
    Endpoint("GET", f"{API}/metrics", metrics, Nothing, Nothing, MetricsResponse),
)
