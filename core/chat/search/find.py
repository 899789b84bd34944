"""Literal search: in order of time, ignoring case, nothing in the query has a special meaning.

The index names candidates, and each is looked at: what is found contains the query, see `case`.
What the index has not taken in yet, the newest messages, is looked at one by one. So the index need
never be up to date for the answer to be right, and an answer costs what it takes to find as much as
is asked for, not what there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from ...errors import Busy
from ...storage.persistence import Persistence, Row
from .blocks import EDITED
from .candidates import Choices, keys_of, places, telling
from .case import Wanted
from .grams import needed
from .reads import Place, Reads
from .sieve import FIRST, MOST, Sieve
from .span import Span

TAIL, MANY = 300, 1000  # of the newest messages, which the index does not hold: first, and later
GROUPS = (32_768, 262_144, 2_097_152)
"""Messages of the blocks that are looked into at once: more, the longer it takes."""
JUDGED = 2000  # messages of a block that are enough to know which grams tell most
GONE = 32  # candidates of a block that are enough to know that most of it is gone
TRIES = 5


class Finder:
    """Finds undeleted messages that contain some texts, as rows like those of `MESSAGES`."""

    def __init__(self, persistence: Persistence, worn: Callable[[int], None]) -> None:
        """`worn` is told of blocks that are better made again."""
        self._reads = Reads(persistence)
        self._worn = worn

    async def find(self, span: Span, wanted: Sequence[Wanted], most: int) -> list[Row]:
        """At most so many messages that contain all of `wanted`, in the order of the span."""
        sieve = Sieve(self._reads, span, wanted, most)
        choices = [needed(each) for each in wanted]
        size = max(TAIL, 2 * most)
        while True:
            rows = await self._reads.fresh(span, size)
            if not span.newest_first:
                # Part of these may just have become a block. So blocks are asked for afterwards,
                # and come first.
                last = await self._reads.last_block(span)
                if last is not None:
                    held = replace(span, below=min(span.below, last + 1))
                    await self._look(held, choices, sieve)
                    span = span.past(last)
                    if not sieve.missing:
                        break
                    continue
            await sieve.sift(rows, whole=False)
            if rows:
                span = span.past(rows[-1]["id"])
            if not sieve.missing or len(rows) < size:
                break
            size = MANY
        if span.newest_first and sieve.missing:
            await self._look(span, choices, sieve)
        return sieve.found

    async def _look(self, span: Span, choices: Choices, sieve: Sieve) -> None:
        """Through the blocks of a span."""
        ahead = span  # where no block has been read yet
        waiting: list[Place] = []  # candidates that are not yet looked at
        edited: set[int] = set()
        size = tries = read = named = 0
        more, met, judged = True, True, False
        while more:
            group, more = await self._reads.group(ahead, keys_of(choices), GROUPS[size])
            first = await self._reads.positions(ahead, group[0]) if group else range(0)
            if first is None:
                tries, more = _another(tries), True
                continue
            for block in group:
                edited |= block.edited
                if len(block.edited) > EDITED:
                    self._worn(block.id)
            read += sum(block.size for block in group)
            async with aclosing(places(group, choices, first, span.newest_first)) as parts:
                if group:
                    end = group[-1].first_id if span.newest_first else group[-1].last_id
                    ahead = ahead.past(end)
                more = more and not ahead.is_empty
                full = True
                while full:
                    most = sieve.next_size if met else MOST  # or all at once, being so few
                    full = await _fill(waiting, parts, most)
                    if more and not full:
                        break  # by what the next blocks may fill it with
                    some, waiting = waiting[:most], waiting[most:]
                    named += len(some)
                    ids = await self._reads.ids(some)
                    if ids is None:  # what was read of these blocks leads nowhere any more
                        tries, more = _another(tries), True
                        ahead, waiting = span, []
                        break
                    part = span.upto(ids[-1]) if full else span
                    chosen = {id for id in (*ids, *edited) if part.holds(id)}
                    whole = len(chosen) <= FIRST and not sieve.is_coarse
                    rows = await self._reads.of(span, chosen, whole=whole)
                    if len(rows) < len(chosen):
                        asked = zip(some, ids, strict=True)
                        self._judge([at for at in asked if part.holds(at[1])], rows)
                    await sieve.sift_candidates(rows, whole=whole)
                    if full:
                        span = span.past(ids[-1])
                    if not sieve.missing or span.is_empty:
                        return
            if not judged and max((block.size for block in group), default=0) >= JUDGED:
                choices, judged = telling(choices, group), True
            # What is met so seldom that the next ones would not do is sought in all that follow.
            size = min(size + 1, len(GROUPS) - 1)
            met = bool(named or waiting)
            if (named + len(waiting)) * GROUPS[size] < sieve.missing * read:
                size = len(GROUPS) - 1

    def _judge(self, candidates: Sequence[tuple[Place, int]], rows: Sequence[Row]) -> None:
        """Tell of blocks whose candidates are mostly gone."""
        there = {row["id"] for row in rows}
        asked = Counter(block for (block, _), _ in candidates)
        left = Counter(block for (block, _), id in candidates if id in there)
        for block, count in asked.items():
            if count > GONE and left[block] < count // 2:
                self._worn(block)


def _another(tries: int) -> int:
    """Count a block that was replaced while it was read: the search goes on with another."""
    if tries == TRIES:
        raise Busy("the search index is being made again; try again")
    return tries + 1


async def _fill(waiting: list[Place], parts: AsyncIterator[list[Place]], most: int) -> bool:
    """Add to what waits until there is that much; whether there was."""
    while len(waiting) < most:
        try:
            waiting += await anext(parts)
        except StopAsyncIteration:
            return False
    return True
