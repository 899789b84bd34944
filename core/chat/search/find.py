"""Literal search: in order of time, ignoring case, nothing in the query has a special meaning.

The index names candidates, and each is looked at: what is found contains the query, see `case`.
What the index has not taken in yet, the newest messages, is looked at one by one. So the index need
never be up to date for the answer to be right, and an answer costs what it takes to find as much as
is asked for, not what there is.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain, islice
from time import perf_counter

from ...errors import Busy
from ...storage.persistence import Persistence, Row
from .blocks import ids_in
from .case import Wanted
from .grams import Keys, needed
from .pages import id_at, id_page, look_up
from .postings import all_of, any_of, met

SOME, MANY = 100, 1000  # messages read at once, first and later
FEW = 10
GROUPS = (4, 32, 128)  # blocks looked into at once: more, the longer it takes
EDITED = 256  # messages of a block edited, at which it is better made again
TELLING = 4  # grams that are looked up for one text once it is known which are telling
ENOUGH = 1  # messages of a block that are looked at sooner than for another gram in each
TRIES = 5
TURN_SECONDS = 0.005  # of looking at texts, after which others have their turn
AT_MOST = 5000  # messages asked for in one statement
Choices = Sequence[Sequence[Sequence[Keys]]]
"""For each text, for each of its forms, the grams that are in every message which contains it."""
Batches = AsyncGenerator[list[Row], None]
CONTENTS = "SELECT m.id, m.content FROM"


@dataclass(frozen=True, slots=True)
class Span:
    """A user's messages with numbers between these two, in either order."""

    user_id: str
    above: int
    below: int
    newest_first: bool = True

    def past(self, id: int) -> Span:
        """What comes after this one."""
        if self.newest_first:
            return replace(self, below=min(self.below, id))
        return replace(self, above=max(self.above, id))

    def upto(self, id: int) -> Span:
        """What comes before the end of this one."""
        if self.newest_first:
            return replace(self, above=max(self.above, id - 1))
        return replace(self, below=min(self.below, id + 1))

    def holds(self, id: int) -> bool:
        return self.above < id < self.below

    @property
    def order(self) -> str:
        return "DESC" if self.newest_first else "ASC"


@dataclass(frozen=True, slots=True)
class Held:
    """A block of a span, and the postings there of the grams that are looked for."""

    id: int
    size: int
    first_id: int
    last_id: int
    postings: dict[Keys, list[bytes]]


class Finder:
    """Finds the numbers of undeleted messages that contain some texts."""

    def __init__(self, persistence: Persistence, worn: Callable[[int], None]) -> None:
        """`worn` is told of blocks that are better made again."""
        self._persistence = persistence
        self._worn = worn

    async def find(self, span: Span, wanted: Sequence[Wanted], most: int) -> list[int]:
        """At most so many messages that contain all of `wanted`, in the order of the span."""
        found: list[int] = []
        turn = perf_counter()
        async with aclosing(self._candidates(span, wanted, most)) as batches:
            async for batch in batches:
                for row in batch:
                    if perf_counter() - turn > TURN_SECONDS:
                        await asyncio.sleep(0)
                        turn = perf_counter()
                    if all(each.is_in(row["content"]) for each in wanted):
                        found.append(row["id"])
                        if len(found) == most:
                            return found
        return found

    async def _candidates(self, span: Span, wanted: Sequence[Wanted], most: int) -> Batches:
        size = max(SOME, 2 * most)
        while True:
            rows = await self._fresh(span, size)
            if not span.newest_first:
                # Part of these may just have become a block. So blocks are asked for afterwards,
                # and come first.
                last = await self._last_block(span)
                if last is not None:
                    held = replace(span, below=min(span.below, last + 1))
                    async for batch in self._indexed(held, wanted):
                        yield batch
                    span = span.past(last)
                    continue
            if rows:
                yield rows
                span = span.past(rows[-1]["id"])
            if len(rows) < size:
                break
            size = MANY
        if span.newest_first:
            async for batch in self._indexed(span, wanted):
                yield batch

    async def _fresh(self, span: Span, size: int) -> list[Row]:
        """Messages that are in no block: what the index has not taken note of, and the tail. They
        are few, so they come first: CROSS tells SQLite so, and the subquery for the user both. Of
        two bounds to one side SQLite would seek by the first alone, so there is one."""
        where = (span.user_id, span.above, span.below)
        return await self._persistence.fetch_all(
            "SELECT u.id, m.content FROM ("  # noqa: S608
            "SELECT m.id FROM message m"
            " WHERE (SELECT s.user_id FROM session s WHERE s.id = m.session_id) = ?"
            " AND m.id > (SELECT MAX(k.bound) FROM (SELECT message_id AS bound FROM search_mark"
            " UNION ALL SELECT CAST(? AS BIGINT)) k) AND m.id < ? AND m.deleted_at IS NULL"
            " UNION ALL SELECT t.message_id FROM search_tail t CROSS JOIN message m"
            " WHERE m.id = t.message_id AND t.user_id = ? AND t.message_id > ?"
            " AND t.message_id < ? AND m.deleted_at IS NULL"
            f" ORDER BY 1 {span.order} LIMIT ?) u CROSS JOIN message m WHERE m.id = u.id"
            f" ORDER BY u.id {span.order}",
            (*where, *where, size),
        )

    async def _last_block(self, span: Span) -> int | None:
        """The last message that a block holds of a span."""
        row = await self._persistence.fetch_one(
            "SELECT MAX(last_id) FROM search_block"
            " WHERE user_id = ? AND state = 1 AND last_id > ? AND first_id < ?",
            (span.user_id, span.above, span.below),
        )
        return row[0] if row else None

    async def _indexed(self, span: Span, wanted: Sequence[Wanted]) -> Batches:
        """Candidates from the blocks of a span."""
        edited = await self._edited(span)  # before any block is read: later ones know these texts
        choices: Choices = [needed(each) for each in wanted]
        size = tries = 0
        while group := await self._group(span, _keys(choices), GROUPS[size]):
            first = await self._positions(span, group[0])
            if first is None:
                tries = _another(tries)
                continue
            places = _places(group, choices, first, span)
            if size == 0:
                choices = _telling(choices, group)
            size = min(size + 1, len(GROUPS) - 1)
            end = group[-1].first_id if span.newest_first else group[-1].last_id
            more = True
            while more:
                batch = list(islice(places, SOME))
                more = len(batch) == SOME
                ids = await self._ids(batch)
                if ids is None:
                    tries = _another(tries)
                    break
                upto = ids[-1] if more else end
                part = span.upto(upto)
                chosen = {id for id in (*ids, *edited) if part.holds(id)}
                if chosen:
                    rows = await self._contents(span, chosen)
                    if len(chosen) > SOME // 2 and len(rows) < len(chosen) // 2:
                        for block in {block for block, _ in batch}:
                            self._worn(block)
                    yield rows
                span = span.past(upto)
                if span.above >= span.below - 1:
                    return

    async def _positions(self, span: Span, block: Held) -> range | None:
        """Those of a block's messages that are in the span; None if the block is no more. Only of
        the first block some may not be, having been passed already; those that come after its end
        are seen to be so."""
        passed = block.last_id >= span.below if span.newest_first else block.first_id <= span.above
        if not passed:
            return range(block.size)
        ids = await ids_in(self._persistence, block.id)
        if not ids:
            return None
        return range(bisect_right(ids, span.above), bisect_left(ids, span.below))

    async def _group(self, span: Span, wanted: Sequence[Keys], count: int) -> list[Held]:
        """The next blocks of a span, with what they know of these grams."""
        values = ", ".join(["(CAST(? AS BIGINT), CAST(? AS BIGINT))"] * len(wanted))
        rows = await self._persistence.fetch_all(
            "WITH chosen AS (SELECT id, size, first_id, last_id FROM search_block"  # noqa: S608
            " WHERE user_id = ? AND state = 1 AND last_id > ? AND first_id < ?"
            f" ORDER BY last_id {span.order} LIMIT ?), wanted(first, last) AS (VALUES {values}),"
            " spans AS (SELECT c.id, c.size, c.first_id, c.last_id, w.first, w.last,"
            " (SELECT MAX(p.first_key) FROM search_page p"
            " WHERE p.block_id = c.id AND p.first_key <= w.first) AS start"
            " FROM chosen c CROSS JOIN wanted w)"
            " SELECT s.*, s.last, p.body"
            " FROM spans s JOIN search_page p ON p.block_id = s.id"
            " AND p.first_key >= s.start AND p.first_key <= s.last",
            (span.user_id, span.above, span.below, count, *chain.from_iterable(wanted)),
        )
        group: dict[int, Held] = {}
        for row in rows:
            block = group.get(row["id"])
            if block is None:
                block = Held(row["id"], row["size"], row["first_id"], row["last_id"], {})
                group[block.id] = block
            keys = row["first"], row["last"]
            block.postings.setdefault(keys, []).extend(look_up(row["body"], *keys))
        return sorted(group.values(), key=lambda each: each.last_id, reverse=span.newest_first)

    async def _edited(self, span: Span) -> set[int]:
        """Messages that their blocks know by an earlier text."""
        rows = await self._persistence.fetch_all(
            "SELECT l.block_id, l.message_id FROM search_block b"
            " JOIN search_loose l ON l.block_id = b.id"
            " WHERE b.user_id = ? AND l.message_id > ? AND l.message_id < ?",
            (span.user_id, span.above, span.below),
        )
        if len(rows) > EDITED:
            blocks = [row["block_id"] for row in rows]
            for block in set(blocks):
                if blocks.count(block) > EDITED:
                    self._worn(block)
        return {row["message_id"] for row in rows}

    async def _ids(self, places: Sequence[tuple[int, int]]) -> list[int] | None:
        """The messages at some places of blocks; None if one of these is no more."""
        pages = sorted({(block, id_page(place)) for block, place in places})
        if not pages:
            return []
        values = ", ".join(["(CAST(? AS BIGINT), CAST(? AS BIGINT))"] * len(pages))
        rows = await self._persistence.fetch_all(
            f"WITH wanted(block, page) AS (VALUES {values}) SELECT w.block, w.page,"  # noqa: S608
            " (SELECT p.body FROM search_page p"
            " WHERE p.block_id = w.block AND p.first_key = w.page) AS body FROM wanted w",
            [part for page in pages for part in page],
        )
        bodies = {(row["block"], row["page"]): row["body"] for row in rows}
        if None in bodies.values():
            return None
        return [id_at(bodies[block, id_page(place)], place) for block, place in places]

    async def _contents(self, span: Span, ids: set[int]) -> list[Row]:
        """Of any number of messages, in the order of the span."""
        order = sorted(ids, reverse=span.newest_first)
        rows: list[Row] = []
        for at in range(0, len(order), AT_MOST):
            some = order[at : at + AT_MOST]
            # Few statements, so that each is compiled once.
            size = next((size for size in (FEW, SOME) if len(some) <= size), len(some))
            marks = ", ".join("?" * size)
            rows += await self._persistence.fetch_all(
                f"{CONTENTS} message m WHERE m.id IN ({marks}) AND m.deleted_at IS NULL"
                f" ORDER BY m.id {span.order}",
                [*some, *some[:1] * (size - len(some))],
            )
        return rows


def _another(tries: int) -> int:
    """Count a block that was replaced while it was read: the search goes on with another."""
    if tries == TRIES:
        raise Busy("the search index is being made again; try again")
    return tries + 1


def _keys(choices: Choices) -> list[Keys]:
    """The grams to look up, each once."""
    return sorted({each for forms in choices for keys in forms for each in keys})


def _places(
    group: Sequence[Held], choices: Choices, first: range, span: Span
) -> Iterator[tuple[int, int]]:
    """(block, position) of each candidate of a group; in its first block only of some positions."""
    for block in group:
        found: set[int] | None = None
        for forms in choices:
            either = set[int]().union(*(_meeting(block, keys) for keys in forms))
            found = either if found is None else found & either
            if not found:
                break
        for place in sorted(found or (), reverse=span.newest_first):
            if block is not group[0] or place in first:
                yield block.id, place


def _meeting(block: Held, keys: Sequence[Keys]) -> set[int]:
    """Where all of some grams are. More than one is asked for only where each is known whole."""
    held = [block.postings[each] for each in keys]
    if not all(held):
        return set()
    if len(held) == 1:
        return any_of(held[0])
    return all_of(postings for [postings] in held)


def _telling(choices: Choices, group: Sequence[Held]) -> Choices:
    """Of the grams of each text those that together are in few messages, judged by the biggest of
    these blocks: of grams that stand side by side in many words, two tell little more than one."""
    block = max(group, key=lambda each: each.size)
    return [[_chosen(keys, block) for keys in forms] for forms in choices]


def _chosen(keys: Sequence[Keys], block: Held) -> Sequence[Keys]:
    if len(keys) == 1:
        return keys
    rarest, *others = sorted(keys, key=lambda each: sum(map(len, block.postings[each])))
    chosen, found = [rarest], any_of(block.postings[rarest])
    while len(found) > ENOUGH and len(chosen) < TELLING and others:
        left = [reduce(met, block.postings[each], found) for each in others]
        at = min(range(len(left)), key=lambda place: len(left[place]))
        if len(left[at]) == len(found):
            break
        found = left[at]
        chosen.append(others.pop(at))
    return chosen
