"""Search over what was said."""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..core.chat.service import MAX_QUERY
from ..core.chat.text import checked
from .arguments import First, page_size
from .context import Info
from .fields import field
from .message import Message


@strawberry.type(description="A message that a search has found.")
class SearchResult:
    message: Message = strawberry.field(description="The message.")
    session_title: str | None = strawberry.field(
        description="Title of its session as it was given."
    )


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
        first: First = 50,
    ) -> list[SearchResult]:
        context = info.context
        found = await context.node.chat.search(
            context.caller,
            checked("query", query, longest=MAX_QUERY),
            limit=page_size(first),
        )
        return [
            SearchResult(message=Message.of(each.message), session_title=each.session_title)
            for each in found
        ]
