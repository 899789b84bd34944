"""Search over what was said."""

from __future__ import annotations

from typing import Annotated, Self

import strawberry

from ..core.chat.records import Found
from ..core.chat.service import MAX_QUERY
from ..core.chat.text import checked
from .arguments import After, Before, First, Last, window
from .context import Info
from .fields import field
from .message import Message
from .pagination import Connection


@strawberry.type(description="A message that a search has found.")
class SearchResult:
    message: Message = strawberry.field(description="The message.")
    session_title: str | None = strawberry.field(
        description="Title of its session as it was given."
    )

    @classmethod
    def of(cls, record: Found) -> Self:
        return cls(message=Message.of(record.message), session_title=record.session_title)


@strawberry.type
class SearchQueries:
    @field(
        "The caller's undeleted messages that contain a text, newest first. The text is taken"
        " literally, ignoring case. For now only the caller's newest 50,000 messages are looked at."
    )
    async def search(
        self,
        info: Info,
        query: Annotated[
            str, strawberry.argument(description=f"The text: 1 to {MAX_QUERY} characters.")
        ],
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[SearchResult]:
        context = info.context
        found = await context.node.chat.search(
            context.caller,
            checked("query", query, longest=MAX_QUERY),
            window(first, after, last, before),
        )
        return Connection.of(found, SearchResult.of)
