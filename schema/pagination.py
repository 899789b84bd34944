"""Connections over keyset pages: a cursor names a row, so that new rows shift nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

import strawberry

from ..core.chat.records import Page

N = TypeVar("N")
R = TypeVar("R")

NOTHING: Page[Any] = Page((), (), False)
"""The page of a list that is not there (any more)."""


@strawberry.type(description="Where a page begins and ends, and what lies beyond.")
class PageInfo:
    has_next_page: bool = strawberry.field(
        description="Whether there are items after this page, the one at `before` among them."
    )
    has_previous_page: bool = strawberry.field(
        description="Whether there are items before this page, the one at `after` among them."
    )
    start_cursor: str | None = strawberry.field(
        description="Cursor of the first item; pass it as `before`. Null on an empty page."
    )
    end_cursor: str | None = strawberry.field(
        description="Cursor of the last item; pass it as `after`. Null on an empty page."
    )


@strawberry.type(description="One item of a page.")
class Edge(Generic[N]):
    cursor: str = strawberry.field(description="Opaque position of this item.")
    node: N = strawberry.field(description="The item.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[N]):
    edges: list[Edge[N]] = strawberry.field(description="The items, each with its cursor.")
    nodes: list[N] = strawberry.field(description="The items alone.")
    page_info: PageInfo = strawberry.field(
        description="Where this page begins and ends, and what lies beyond."
    )

    @classmethod
    def of(cls, page: Page[R], make: Callable[[R], N], **more: Any) -> Self:
        """The page, each record made into what the schema shows. `more`: fields of a subclass."""
        nodes = [make(record) for record in page.items]
        cursors = page.cursors
        return cls(
            edges=[Edge(cursor=c, node=n) for c, n in zip(cursors, nodes, strict=True)],
            nodes=nodes,
            page_info=PageInfo(
                has_next_page=page.has_next,
                has_previous_page=page.has_previous,
                start_cursor=cursors[0] if cursors else None,
                end_cursor=cursors[-1] if cursors else None,
            ),
            **more,
        )
