"""Searches for one caller at a time, over what is that caller's own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from weakref import WeakValueDictionary

from ...errors import Busy, InvalidInput
from ...identity import Caller
from ...storage.persistence import Persistence, Row
from ..paging import BIGGEST, Listing, Window, decode_cursor
from ..records import Found, Page
from ..rows import MESSAGES, message_from
from .case import Wanted
from .find import Finder
from .ranking import MAX_WORDS, best_first, words_of
from .span import Span

AT_ONCE = 4
EACH = 1000  # searches of one user that are read or wait; without authentication many are one user
SECONDS = 20.0  # from the question to the answer
RANKED = 500
NEWEST = Listing(
    select=MESSAGES, source="message m", row="m.id", key=("m.id",), kinds=(int,), descending=True
)


class Search:
    """At most `AT_ONCE` searches read at a time, and of each user one; the others wait for their
    turn, not for long and not too many."""

    def __init__(self, persistence: Persistence, worn: Callable[[int], None]) -> None:
        self._persistence = persistence
        self._finder = Finder(persistence, worn)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._own: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._asked: Counter[str] = Counter()

    async def newest(self, caller: Caller, query: str, window: Window) -> Page[Found]:
        """Undeleted messages that contain `query`, the newest first."""
        wanted = [Wanted.of(query)]
        span, others = _spans(caller, window)
        async with self._turn(caller):
            rows = await self._finder.find(span, wanted, window.size + 1)
            more = len(rows) > window.size
            beyond = {field for field, other in others if await self._finder.find(other, wanted, 1)}
        page = NEWEST.page_of(rows[: window.size], window, beyond).of(_found)
        if window.backward:
            return replace(page, has_previous=page.has_previous or more)
        return replace(page, has_next=page.has_next or more)

    async def best(self, caller: Caller, query: str, size: int) -> Page[Found]:
        """Of the newest `RANKED` undeleted messages that contain every word of `query`, wherever,
        those that answer it best, the best first. One page: there is no next.

        Raises:
            InvalidInput: more words than `MAX_WORDS`.
        """
        words = words_of(query)
        if len(words) > MAX_WORDS:
            raise InvalidInput("query", f"has {len(words)} words; at most {MAX_WORDS} are ranked")
        wanted = [Wanted.of(word) for word in words]
        async with self._turn(caller):
            rows = await self._finder.find(Span(caller.user_id, 0, BIGGEST), wanted, RANKED)
        order = best_first([row["content"] for row in rows], query)
        return NEWEST.page_of([rows[place] for place in order[:size]], Window(size), ()).of(_found)

    @asynccontextmanager
    async def _turn(self, caller: Caller) -> AsyncGenerator[None]:
        """
        Raises:
            Busy: the user asks for too much at once, or it has taken too long.
        """
        user = caller.user_id
        if self._asked[user] >= EACH:
            raise Busy(f"{EACH} of your searches are waiting; try again when they are answered")
        self._asked[user] += 1
        own = self._own.setdefault(user, asyncio.Lock())
        try:
            async with asyncio.timeout(SECONDS), own, self._turns:
                yield
        except TimeoutError as error:
            raise Busy(
                f"the search took more than {SECONDS:g} seconds; ask for a longer text, or later"
            ) from error
        finally:
            self._asked[user] -= 1
            if not self._asked[user]:
                del self._asked[user]


def _spans(caller: Caller, window: Window) -> tuple[Span, list[tuple[str, Span]]]:
    """What a window shows, and for each of its cursors what lies on the other side, beginning with
    the cursor's own message."""
    whole = shown = Span(caller.user_id, 0, BIGGEST, newest_first=not window.backward)
    others: list[tuple[str, Span]] = []
    if window.after is not None:
        (newer,) = decode_cursor(window.after, int)
        shown = replace(shown, below=int(newer))
        others.append(("after", replace(whole, above=int(newer) - 1, newest_first=False)))
    if window.before is not None:
        (older,) = decode_cursor(window.before, int, field="before")
        shown = replace(shown, above=int(older))
        others.append(("before", replace(whole, below=int(older) + 1, newest_first=True)))
    return shown, others


def _found(row: Row) -> Found:
    return Found(message_from(row), row["title"])
