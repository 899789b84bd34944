"""A session as a file, made piece by piece: memory does not grow with its length."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, get_args

import orjson

from .records import Message, Session

ExportFormat = Literal["json", "txt", "md"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
MEDIA_TYPES: dict[ExportFormat, str] = {
    "json": "application/json",
    "txt": "text/plain; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
}
SPEAKERS = {"user": "👤 User", "assistant": "🤖 Assistant", "system": "System"}


@dataclass(frozen=True, slots=True)
class Export:
    """A file: `parts` gives its text, once. Whoever leaves it half read closes `parts`."""

    filename: str
    media_type: str
    parts: AsyncGenerator[str, None]


def export(
    session: Session, messages: AsyncGenerator[Message, None], format: ExportFormat
) -> Export:
    """`messages` are what is in the file, oldest first; they are closed with its `parts`."""
    write = {"json": _json, "txt": _text, "md": _markdown}[format]
    filename = f"session_{session.session_id}.{format}"
    return Export(filename, MEDIA_TYPES[format], _closing(messages, write(session, messages)))


async def _closing(
    messages: AsyncGenerator[Message, None], parts: AsyncGenerator[str, None]
) -> AsyncGenerator[str, None]:
    async with aclosing(messages), aclosing(parts):
        async for part in parts:
            yield part


async def _json(
    session: Session, messages: AsyncGenerator[Message, None]
) -> AsyncGenerator[str, None]:
    head = orjson.dumps(session.as_json() | {"title": session.listed_title}).decode()
    yield f'{{"session":{head},"messages":['
    comma = ""
    async for message in messages:
        yield comma + orjson.dumps(message.as_json()).decode()
        comma = ","
    yield "]}"


async def _text(
    session: Session, messages: AsyncGenerator[Message, None]
) -> AsyncGenerator[str, None]:
    yield (
        f"Session: {session.listed_title}\nCreated: {session.created_at.isoformat()}\n"
        f"Messages: {session.message_count}\n{'=' * 80}\n\n"
    )
    async for message in messages:
        said_at = message.created_at.isoformat()
        yield f"[{message.role.upper()}] {said_at}\n{message.content}\n\n"


async def _markdown(
    session: Session, messages: AsyncGenerator[Message, None]
) -> AsyncGenerator[str, None]:
    yield (
        f"# {session.listed_title}\n\n**Created:** {session.created_at.isoformat()}\n"
        f"**Messages:** {session.message_count}\n\n---\n\n"
    )
    async for message in messages:
        said_at = message.created_at.isoformat()
        yield f"## {SPEAKERS[message.role]}\n*{said_at}*\n\n{message.content}\n\n"
