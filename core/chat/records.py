"""What the chat services hand out: immutable, plain attributes, nothing lazy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

Role = Literal["user", "assistant", "system"]
T = TypeVar("T")
U = TypeVar("U")

UNTITLED = "Untitled Chat"
SHORT = 50  # characters of a first message that are listed in place of a title


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One conversation of one user, and the stream its events are appended to.

    `id` is the stream's number inside the server; `session_id` is the public id, unique per user.
    `last_seq` is the stream's newest event as of this record: following from there misses nothing
    that reading the session afterwards does not show. `opening` is the beginning of the first
    user message, longer than what is listed of it; None when there is a title, or no message.
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
    opening: str | None = None

    @property
    def listed_title(self) -> str:
        """The title, or what stands for it in lists and exports: how the first message begins."""
        if self.title:
            return self.title
        if self.opening is None:
            return UNTITLED
        short = self.opening[:SHORT]
        return short if short == self.opening else f"{short}..."

    def as_json(self) -> dict[str, Any]:
        """Its public fields, times in ISO-8601."""
        return {
            "session_id": self.session_id,
            "user_id": self.user_id,
            "title": self.title,
            "message_count": self.message_count,
            "created_at": self.created_at.isoformat(),
            "last_activity": self.last_activity.isoformat(),
            "deleted_at": _iso(self.deleted_at),
            "archived_at": _iso(self.archived_at),
        }


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

    def as_json(self) -> dict[str, Any]:
        """Its public fields, times in ISO-8601."""
        return {
            "message_id": self.message_id,
            "session_id": self.session_id,
            "role": self.role,
            "content": self.content,
            "created_at": self.created_at.isoformat(),
            "deleted_at": _iso(self.deleted_at),
            "edited_at": _iso(self.edited_at),
            "original_content": self.original_content,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """A message that a search has found, and the title of its session as it was given."""

    message: Message
    session_title: str | None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a keyset listing. A cursor is opaque text made from the sort key of a row."""

    items: tuple[T, ...]
    cursors: tuple[str, ...]
    has_next: bool
    has_previous: bool = False

    def of(self, make: Callable[[T], U]) -> Page[U]:
        """The same page, each item made into something else."""
        items = tuple(make(item) for item in self.items)
        return Page(items, self.cursors, self.has_next, self.has_previous)


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
