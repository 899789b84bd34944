"""Connections over keyset pages: a cursor names a row, so that new rows shift nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Self, TypeVar

import strawberry

from ..core.chat.records import Page

N = TypeVar("N")
R = TypeVar("R")


@strawberry.type(description="Where a page ends.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether there are items after this page.")
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
    page_info: PageInfo = strawberry.field(description="Where this page ends.")

    @classmethod
    def of(cls, page: Page[R], make: Callable[[R], N]) -> Self:
        """The page, each record made into what the schema shows."""
        nodes = [make(record) for record in page.items]
        return cls(
            edges=[Edge(cursor=c, node=n) for c, n in zip(page.cursors, nodes, strict=True)],
            nodes=nodes,
            page_info=PageInfo(
                has_next_page=page.has_next, end_cursor=page.cursors[-1] if page.cursors else None
            ),
        )
