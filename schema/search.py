"""Search over what was said."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Annotated

import strawberry

from ..core.chat.records import Found
from ..core.chat.search.case import Wanted
from ..core.chat.search.ranking import excerpt, words_of
from ..core.chat.service import MAX_QUERY
from ..core.chat.text import checked
from ..core.errors import InvalidInput
from .arguments import After, Before, First, Last, window
from .context import Info
from .fields import field
from .message import Message
from .pagination import Connection


@strawberry.enum(description="In which order results come.")
class SearchOrder(Enum):
    NEWEST = strawberry.enum_value(
        "newest", description="Messages that contain the text as it stands, newest first."
    )
    RELEVANCE = strawberry.enum_value(
        "relevance",
        description="Of the newest 500 messages that contain every word of the text, wherever, the"
        " best first. One page: neither `after` nor `last` nor `before` may be given.",
    )


@strawberry.type(description="A piece of a text.")
class ExcerptPart:
    text: str = strawberry.field(description="The piece, as plain text.")
    matched: bool = strawberry.field(description="Whether it is what was searched for.")


@strawberry.type(description="A message that a search has found.")
class SearchResult:
    message: Message = strawberry.field(description="The message.")
    session_title: str | None = strawberry.field(
        description="Title of its session as it was given."
    )
    wanted: strawberry.Private[list[Wanted]]
    turn: strawberry.Private[asyncio.Lock]

    @field("The message around the first match, in pieces: put together, it is what to show.")
    async def excerpt(self) -> list[ExcerptPart]:
        async with self.turn:  # one after the other, and what else there is to do between them
            await asyncio.sleep(0)
            parts = excerpt(self.message.content, self.wanted)
        return [ExcerptPart(text=part.text, matched=part.matched) for part in parts]


@strawberry.type
class SearchQueries:
    @field(
        "The caller's undeleted messages that contain a text. It is taken literally, nothing in it"
        " has a special meaning; case is ignored, by Unicode's full case folding."
    )
    async def search(
        self,
        info: Info,
        query: Annotated[
            str, strawberry.argument(description=f"The text: 1 to {MAX_QUERY} characters.")
        ],
        order: Annotated[
            SearchOrder, strawberry.argument(description="In which order results come.")
        ] = SearchOrder.NEWEST,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[SearchResult]:
        context = info.context
        chat, caller = context.node.chat, context.caller
        checked("query", query, longest=MAX_QUERY)
        shown = window(first, after, last, before)
        if order is SearchOrder.NEWEST:
            found, words = await chat.search(caller, query, shown), [query]
        else:
            if last is not None or after is not None or before is not None:
                raise InvalidInput("order", "RELEVANCE gives one page: ask with `first` alone")
            found, words = await chat.search_best(caller, query, shown.size), words_of(query)
        wanted, turn = [Wanted.of(word) for word in words], asyncio.Lock()

        def result(record: Found) -> SearchResult:
            return SearchResult(
                message=Message.of(record.message),
                session_title=record.session_title,
                wanted=wanted,
                turn=turn,
            )

        return Connection.of(found, result)
