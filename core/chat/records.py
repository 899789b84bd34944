"""What the chat services hand out: immutable, plain attributes, nothing lazy."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

Role = Literal["user", "assistant", "system"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One conversation of one user, and the stream its events are appended to.

    `id` is the stream's number inside the server; `session_id` is the public id, unique per user.
    `last_seq` is the stream's newest event as of this record: following from there misses nothing
    that reading the session afterwards does not show.
    """

    id: int
    session_id: str
    user_id: str
    title: str | None
    capability: str | None
    message_count: int
    created_at: datetime
    last_activity: datetime
    deleted_at: datetime | None = None
    archived_at: datetime | None = None
    last_seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `data` is what the capability attached to its reply (citations, ...)."""

    message_id: int
    session_id: str
    pid: str | None
    role: Role
    content: str
    created_at: datetime
    deleted_at: datetime | None = None
    edited_at: datetime | None = None
    original_content: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a keyset listing. A cursor is opaque text made from the sort key of a row."""

    items: tuple[T, ...]
    cursors: tuple[str, ...]
    has_next: bool
