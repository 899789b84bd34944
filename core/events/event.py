"""One entry of a stream: a session's append-only, gapless log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .types import check_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`seq` starts at 1 and has no gaps within its `stream` (a `Session.id`).

    `session_id` is the public id of the session that the stream belongs to. `made` holds what is
    made of it for readers, by whatever makes it: the many who follow a stream are given the same.
    """

    stream: int
    seq: int
    type: str
    session_id: str
    pid: str | None
    user_id: str
    payload: dict[str, Any]
    created_at: datetime
    made: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event about to be appended. With `key`, a second event of the same (pid, key, type) is
    dropped silently: that is what keeps a replayed run from telling its story twice.

    Raises:
        UnknownEventType: `type` is neither in `TYPES` nor a capability's own.
    """

    type: str
    payload: dict[str, Any]
    pid: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        check_type(self.type)
