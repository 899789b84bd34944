"""Arguments: their bounds, and how they describe themselves to clients.

Every argument that takes a size or a text passes through here, so that none is unbounded, and
errors name it as the client wrote it.
"""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..core.chat.paging import Window
from ..core.chat.text import MAX_ID, checked
from ..core.errors import InvalidInput
from ..core.tower.idempotency import checked_key

MAX_PAGE = 200
PAGE = 50
"""Items of a page whose size is not asked for."""
MAX_WAIT = 300.0

Count = Annotated[
    int, strawberry.argument(description=f"How many items to return: 1 to {MAX_PAGE}.")
]
First = Annotated[
    int | None,
    strawberry.argument(
        description=f"How many items to return from the beginning: 1 to {MAX_PAGE}; null for"
        f" {PAGE}, or where `last` is given."
    ),
]
After = Annotated[
    str | None,
    strawberry.argument(
        description="The cursor after which the items lie; null for no such bound."
    ),
]
Last = Annotated[
    int | None,
    strawberry.argument(
        description=f"How many items to return from the end, in the same order: 1 to {MAX_PAGE}."
        " Not together with `first`."
    ),
]
Before = Annotated[
    str | None,
    strawberry.argument(
        description="The cursor before which the items lie; null for no such bound."
    ),
]


def page_size(count: int, field: str = "first") -> int:
    if not 1 <= count <= MAX_PAGE:
        raise InvalidInput(field, f"{count} is out of range; ask for 1 to {MAX_PAGE} items")
    return count


def window(first: int | None, after: str | None, last: int | None, before: str | None) -> Window:
    """The part of a list that the four arguments of a connection ask for."""
    if first is not None and last is not None:
        raise InvalidInput("last", "send either `first` or `last`")
    size = page_size(PAGE if first is None else first) if last is None else page_size(last, "last")
    return Window(
        size,
        after=maybe_text("after", after),
        before=maybe_text("before", before),
        backward=last is not None,
    )


def maybe_text(
    field: str, value: str | None, *, longest: int = MAX_ID, may_be_empty: bool = False
) -> str | None:
    return (
        None if value is None else checked(field, value, longest=longest, may_be_empty=may_be_empty)
    )


def idempotency_key(key: str | None, request_id: str | None) -> str | None:
    return None if key is None else checked_key("idempotencyKey", key, request_id)


def wait_seconds(wait: bool, seconds: float, operation_timeout: float) -> float | None:
    """How long a mutation waits for an outcome, in seconds; None when it does not wait.

    Stays under the operation's own timeout, so that waiting ends with an answer, not an error.
    """
    if not wait:
        return None
    if not 0 < seconds <= MAX_WAIT:
        raise InvalidInput("waitSeconds", f"is {seconds:g}; send more than 0, at most {MAX_WAIT:g}")
    return min(seconds, operation_timeout * 0.9)
