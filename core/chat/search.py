"""Literal search: newest first, ignoring case, nothing in the query has a special meaning."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from ..identity import Caller
from ..storage.persistence import Persistence, Row
from .paging import Listing, Window, decode_cursor, encode_cursor
from .records import Found, Page
from .rows import MESSAGES, message_from

PAGE = 500
LONGEST_SCAN = 50_000
"""How many of a user's newest messages are looked at: there is no index yet."""

NEWEST = Listing(
    select=MESSAGES, source="message m", row="m.id", key=("m.id",), kinds=(int,), descending=True
)


async def search(
    persistence: Persistence, caller: Caller, query: str, window: Window
) -> Page[Found]:
    """Undeleted messages that contain `query`, among the first `LONGEST_SCAN` of the window."""

    async def some(window: Window, most: int) -> list[Row]:
        found: list[Row] = []
        async for row in _messages(persistence, caller, window):
            if wanted in row["content"].casefold():
                found.append(row)
                if len(found) == most:
                    break
        return found

    wanted = query.casefold()
    rows = await some(window, window.size + 1)
    beyond = {field for field, other in _other_sides(window) if await some(other, 1)}
    return NEWEST.page_of(rows, window, beyond).of(
        lambda row: Found(message_from(row), row["title"])
    )


async def _messages(persistence: Persistence, caller: Caller, window: Window) -> AsyncIterator[Row]:
    """The caller's messages of a window, in the direction of reading."""
    for _ in range(LONGEST_SCAN // PAGE):
        part = replace(window, size=PAGE)
        where = "s.user_id = ? AND m.deleted_at IS NULL"
        rows = await NEWEST.rows(persistence, where, (caller.user_id,), part)
        for row in rows[:PAGE]:
            yield row
        if len(rows) <= PAGE:
            return
        last = encode_cursor((rows[PAGE - 1]["id"],))
        window = replace(window, before=last) if window.backward else replace(window, after=last)


def _other_sides(window: Window) -> list[tuple[str, Window]]:
    """From each cursor of the window away from it, the cursor's own message first."""
    sides: list[tuple[str, Window]] = []
    if window.after is not None:
        (newer,) = decode_cursor(window.after, int)
        cursor = encode_cursor((int(newer) - 1,))
        sides.append(("after", Window(1, before=cursor, backward=True)))
    if window.before is not None:
        (older,) = decode_cursor(window.before, int, field="before")
        sides.append(("before", Window(1, after=encode_cursor((int(older) + 1,)))))
    return sides
