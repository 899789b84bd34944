"""Sessions: `/api/v1/chat/sessions` and what lies below."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from ...core.chat.changes import KEEP
from ...core.chat.export import FORMATS, MEDIA_TYPES, ExportFormat
from ...core.chat.paging import Window
from ...core.chat.records import Message, Session
from ...core.chat.service import Period
from .download import Download
from .endpoint import Call, Endpoint, Nothing
from .models import MessageResponse, SessionCreate, SessionResponse, SessionUpdate
from .parameters import DeleteSession, ExportSession, ListMessages, ListSessions, OfSession

SESSIONS = "/api/v1/chat/sessions"
SESSION = f"{SESSIONS}/{{session_id}}"


async def list_sessions(call: Call[ListSessions, Nothing]) -> list[Session]:
    """List sessions, the one last active first; one without a title by its first message."""
    chosen = call.params
    found = await call.node.chat.list_sessions(
        call.caller,
        Window(chosen.limit, offset=chosen.offset),
        active=None if chosen.filter in (None, "all") else cast(Period, chosen.filter),
        include_deleted=chosen.include_deleted,
    )
    return [replace(session, title=session.listed_title) for session in found.items]


async def create_session(call: Call[Nothing, SessionCreate]) -> Session:
    """Create an empty session."""
    return await call.node.chat.create_session(call.caller, title=call.body.title)


async def get_session(call: Call[OfSession, Nothing]) -> Session:
    """One session, deleted softly or not."""
    return await call.node.chat.get_session(call.caller, call.params.session_id)


async def update_session(call: Call[OfSession, SessionUpdate]) -> Session:
    """Rename, archive or un-archive a session; without either it counts as activity."""
    given = call.body
    return await call.node.chat.update_session(
        call.caller,
        call.params.session_id,
        title=given.title,
        archived_at=given.archived_at if "archived_at" in given.model_fields_set else KEEP,
    )


async def delete_session(call: Call[DeleteSession, Nothing]) -> None:
    """Delete a session: softly, or with all that was said in it for good."""
    await call.node.chat.delete_session(call.caller, call.params.session_id, soft=call.params.soft)


async def list_messages(call: Call[ListMessages, Nothing]) -> tuple[Message, ...]:
    """List the messages of a session, oldest first."""
    chosen = call.params
    found = await call.node.chat.list_messages(
        call.caller,
        chosen.session_id,
        Window(chosen.limit, offset=chosen.offset),
        include_deleted=chosen.include_deleted,
    )
    return found.items


async def export_session(call: Call[ExportSession, Nothing]) -> Download:
    """Download a session as JSON, text or Markdown."""
    export = await call.node.chat.export_session(
        call.caller, call.params.session_id, cast(ExportFormat, call.params.format)
    )
    return Download(export.filename, export.media_type, export.parts)


endpoints = (
    Endpoint("GET", SESSIONS, list_sessions, ListSessions, Nothing, list[SessionResponse]),
    Endpoint("POST", SESSIONS, create_session, Nothing, SessionCreate, SessionResponse, 201),
    Endpoint("GET", SESSION, get_session, OfSession, Nothing, SessionResponse, fails=(404,)),
    Endpoint(
        "PATCH", SESSION, update_session, OfSession, SessionUpdate, SessionResponse, fails=(404,)
    ),
    Endpoint("DELETE", SESSION, delete_session, DeleteSession, Nothing, None, 204, fails=(404,)),
    Endpoint(
        "GET",
        f"{SESSION}/messages",
        list_messages,
        ListMessages,
        Nothing,
        list[MessageResponse],
        fails=(404,),
    ),
    Endpoint(
        "GET",
        f"{SESSION}/export",
        export_session,
        ExportSession,
        Nothing,
        fails=(404,),
        media=tuple(MEDIA_TYPES[format] for format in FORMATS),
        attachment=True,
    ),
)
