"""Arguments: their bounds, and how they describe themselves to clients.

Every argument that takes a size or a text passes through here, so that none is unbounded, and
errors name it as the client wrote it.
"""

from __future__ import annotations

from typing import Annotated

import strawberry

from ..core.chat.text import MAX_ID, checked
from ..core.errors import InvalidInput

MAX_PAGE = 200
MAX_WAIT = 300.0

First = Annotated[
    int, strawberry.argument(description=f"How many items to return: 1 to {MAX_PAGE}.")
]
After = Annotated[
    str | None,
    strawberry.argument(description="The cursor after which to go on; null for the beginning."),
]


def page_size(first: int) -> int:
    if not 1 <= first <= MAX_PAGE:
        raise InvalidInput("first", f"{first} is out of range; ask for 1 to {MAX_PAGE} items")
    return first


def cursor(after: str | None) -> str | None:
    return maybe_text("after", after)


def maybe_text(
    field: str, value: str | None, *, longest: int = MAX_ID, shortest: int = 1
) -> str | None:
    return None if value is None else checked(field, value, longest=longest, shortest=shortest)


def idempotency_key(key: str | None, request_id: str | None) -> str | None:
    if key is not None and request_id is not None:
        raise InvalidInput("idempotencyKey", "send either this or `requestId`, not both")
    return maybe_text("idempotencyKey", key)


def wait_seconds(wait: bool, seconds: float, operation_timeout: float) -> float | None:
    """How long a mutation waits for an outcome, in seconds; None when it does not wait.

    Stays under the operation's own timeout, so that waiting ends with an answer, not an error.
    """
    if not wait:
        return None
    if not 0 < seconds <= MAX_WAIT:
        raise InvalidInput("waitSeconds", f"is {seconds:g}; send more than 0, at most {MAX_WAIT:g}")
    return min(seconds, operation_timeout * 0.9)
