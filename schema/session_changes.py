"""Changes of sessions: created, renamed, archived, deleted, exported."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, cast
from urllib.parse import quote

import strawberry

from ..core.chat.export import ExportFormat as Format
from ..core.chat.text import MAX_ID, MAX_TITLE
from ..core.errors import InvalidInput
from .arguments import maybe_text
from .context import Info
from .errors import Errors
from .fields import mutation
from .node import key_of
from .session import Session

MAX_EXPORT = 4 * 1024 * 1024  # characters

_ID = "`Session.id` or `Session.sessionId`."


@strawberry.input(description="What to create a session with.")
class CreateSessionInput:
    title: str | None = strawberry.field(
        default=None, description=f"Title, at most {MAX_TITLE} characters."
    )
    capability: str | None = strawberry.field(
        default=None,
        description="Capability that answers its messages; null for the server's default.",
    )


@strawberry.type(description="A session was created.")
class CreateSessionPayload:
    session: Session = strawberry.field(description="The new session.")


CreateSessionResult = Annotated[
    CreateSessionPayload | Errors,
    strawberry.union("CreateSessionResult", description="The new session, or why there is none."),
]


@strawberry.input(description="What to change of a session.")
class UpdateSessionInput:
    session_id: strawberry.ID = strawberry.field(description=_ID)
    title: str | None = strawberry.field(
        default=None,
        description=f"Title, at most {MAX_TITLE} characters; null leaves it as it is.",
    )


@strawberry.type(description="The session was changed.")
class UpdateSessionPayload:
    session: Session = strawberry.field(description="The session as it is now.")


UpdateSessionResult = Annotated[
    UpdateSessionPayload | Errors,
    strawberry.union("UpdateSessionResult", description="The session, or why it is unchanged."),
]


@strawberry.input(description="Which session to archive, or to take back.")
class ArchiveSessionInput:
    session_id: strawberry.ID = strawberry.field(description=_ID)
    archived: bool = strawberry.field(
        default=True, description="False takes it out of the archive again."
    )
    archived_at: datetime | None = strawberry.field(
        default=None, description="When it was archived, for imports; null means now."
    )


@strawberry.input(description="Which session to delete, and how.")
class DeleteSessionInput:
    session_id: strawberry.ID = strawberry.field(description=_ID)
    soft: bool = strawberry.field(
        default=True,
        description="Softly, it is hidden with its messages and can still be read by its id."
        " Otherwise all of it is removed for good, and what runs in it is ended.",
    )


@strawberry.type(description="The session was deleted.")
class DeleteSessionPayload:
    session_id: str = strawberry.field(description="`Session.sessionId` of the session.")
    soft: bool = strawberry.field(description="Whether it can still be read by its id.")


DeleteSessionResult = Annotated[
    DeleteSessionPayload | Errors,
    strawberry.union("DeleteSessionResult", description="What was deleted, or why it was not."),
]


@strawberry.enum(description="The form of an exported session.")
class ExportFormat(Enum):
    JSON = strawberry.enum_value("json", description="The session and its messages as JSON.")
    TXT = strawberry.enum_value("txt", description="Plain text.")
    MD = strawberry.enum_value("md", description="Markdown.")


@strawberry.input(description="Which session to export, and in which form.")
class ExportSessionInput:
    session_id: strawberry.ID = strawberry.field(description=_ID)
    format: ExportFormat = strawberry.field(
        default=ExportFormat.JSON, description="Form of the file."
    )


@strawberry.type(description="A session as a file.")
class ExportSessionPayload:
    filename: str = strawberry.field(description="Name for the file.")
    media_type: str = strawberry.field(description="Its media type.")
    content: str = strawberry.field(description="Its text.")


ExportSessionResult = Annotated[
    ExportSessionPayload | Errors,
    strawberry.union("ExportSessionResult", description="The file, or why there is none."),
]


@strawberry.type
class SessionMutations:
    @mutation("Create an empty session.")
    async def create_session(
        self,
        info: Info,
        input: Annotated[CreateSessionInput, strawberry.argument(description="The session.")],
    ) -> CreateSessionResult:
        context = info.context
        maybe_text("title", input.title, longest=MAX_TITLE, may_be_empty=True)
        capability = maybe_text("capability", input.capability, longest=MAX_ID)
        if capability is not None:
            context.node.capabilities.choose(capability)
        record = await context.node.chat.create_session(
            context.caller, title=input.title, capability=capability
        )
        return CreateSessionPayload(session=Session.of(record))

    @mutation("Change a session's title. Without a title it only counts as activity.")
    async def update_session(
        self,
        info: Info,
        input: Annotated[UpdateSessionInput, strawberry.argument(description="The change.")],
    ) -> UpdateSessionResult:
        context = info.context
        maybe_text("title", input.title, longest=MAX_TITLE, may_be_empty=True)
        record = await context.node.chat.update_session(
            context.caller, key_of(input.session_id, "Session"), title=input.title
        )
        return UpdateSessionPayload(session=Session.of(record))

    @mutation("Archive a session, or take it out of the archive. It stays listed.")
    async def archive_session(
        self,
        info: Info,
        input: Annotated[ArchiveSessionInput, strawberry.argument(description="The session.")],
    ) -> UpdateSessionResult:
        context = info.context
        record = await context.node.chat.update_session(
            context.caller,
            key_of(input.session_id, "Session"),
            archived_at=_archived_at(input),
        )
        return UpdateSessionPayload(session=Session.of(record))

    @mutation("Delete a session with its messages. Deleting softly twice is no error.")
    async def delete_session(
        self,
        info: Info,
        input: Annotated[DeleteSessionInput, strawberry.argument(description="The session.")],
    ) -> DeleteSessionResult:
        context = info.context
        session_id = key_of(input.session_id, "Session")
        await context.node.chat.delete_session(context.caller, session_id, soft=input.soft)
        return DeleteSessionPayload(session_id=session_id, soft=input.soft)

    @mutation(
        f"Give a session's messages as a file of at most {MAX_EXPORT:,} characters. Longer ones"
        " can be downloaded from `/api/v1/chat/sessions/{sessionId}/export`."
    )
    async def export_session(
        self,
        info: Info,
        input: Annotated[ExportSessionInput, strawberry.argument(description="The session.")],
    ) -> ExportSessionResult:
        context = info.context
        session_id, format = key_of(input.session_id, "Session"), cast(Format, input.format.value)
        export = await context.node.chat.export_session(context.caller, session_id, format)
        parts: list[str] = []
        size = 0
        async with aclosing(export.parts):
            async for part in export.parts:
                size += len(part)
                if size > MAX_EXPORT:
                    raise InvalidInput("sessionId", _too_long(session_id, format))
                parts.append(part)
        return ExportSessionPayload(
            filename=export.filename, media_type=export.media_type, content="".join(parts)
        )


def _too_long(session_id: str, format: Format) -> str:
    path = f"/api/v1/chat/sessions/{quote(session_id, safe='')}/export?format={format}"
    return f"makes a file of more than {MAX_EXPORT:,} characters; download it by GET {path}"


def _archived_at(input: ArchiveSessionInput) -> datetime | None:
    if not input.archived:
        return None
    moment = input.archived_at or datetime.now(UTC)
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise InvalidInput("archivedAt", "is out of range in UTC") from None
