"""Messages: sent, edited, deleted and searched."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException

from ...core.chat.paging import Window
from ...core.chat.records import Message
from ...core.chat.text import known_form
from ...core.errors import Forbidden, NotFound
from ...core.tower.process import Envelope
from .endpoint import Call, Endpoint, Nothing
from .models import MessageEdit, MessageResponse, MessageSend, MessageSendResponse, SearchResult
from .outcome import message_outcome
from .parameters import DeleteMessage, OfMessage, OfUser, Search
from .submission import submit

MESSAGES = "/api/v1/chat/messages"
MESSAGE = f"{MESSAGES}/{{message_id}}"


async def send_message(call: Call[OfUser, MessageSend]) -> MessageSendResponse:
    """Send a message and wait for what comes of it. Without a session, one is created.

    The header `Idempotency-Key` makes it safe to send again: the work is done once.
    """
    session_id = call.body.session_id or None
    envelope = Envelope(caller=call.caller, message=call.body.message, session_id=session_id)
    try:
        if session_id is not None:
            known_form("session", session_id)
        process = await submit(call, envelope)
    except NotFound:
        raise HTTPException(404, "Session not found or access denied") from None
    return message_outcome(process)


async def edit_message(call: Call[OfMessage, MessageEdit]) -> Message:
    """Change what the user said; the first edit keeps the original text."""
    try:
        return await call.node.chat.edit_message(
            call.caller, call.params.message_id, call.body.content
        )
    except Forbidden as error:
        raise HTTPException(400, error.message) from None


async def delete_message(call: Call[DeleteMessage, Nothing]) -> None:
    """Delete a message of either role: softly, or for good."""
    await call.node.chat.delete_message(call.caller, call.params.message_id, soft=call.params.soft)


async def search(call: Call[Search, Nothing]) -> list[dict[str, Any]]:
    """Find messages that contain a text, literally and ignoring case, newest first."""
    found = await call.node.chat.search(call.caller, call.params.query, Window(call.params.limit))
    return [each.message.as_json() | {"session_title": each.session_title} for each in found.items]


endpoints = (
    Endpoint(
        "POST",
        MESSAGES,
        send_message,
        OfUser,
        MessageSend,
        MessageSendResponse,
        fails=(404, 409, 429),
        once=True,
    ),
    Endpoint("PATCH", MESSAGE, edit_message, OfMessage, MessageEdit, MessageResponse, fails=(404,)),
    Endpoint("DELETE", MESSAGE, delete_message, DeleteMessage, Nothing, None, 204, fails=(404,)),
    Endpoint(
        "GET",
        "/api/v1/chat/search",
        search,
        Search,
        Nothing,
        list[SearchResult],
        fails=(429,),
    ),
)
