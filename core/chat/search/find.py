"""Literal search: in order of time, ignoring case, nothing in the query has a special meaning.

The index names candidates, and each is looked at: what is found contains the query, see `case`.
What the index has not taken in yet, the newest messages, is looked at one by one. So the index need
never be up to date for the answer to be right, and an answer costs what it takes to find as much as
is asked for, not what there is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from time import perf_counter

from ...errors import Busy
from ...storage.persistence import Persistence, Row
from ..rows import SCATTERED
from .blocks import EDITED, positions_between
from .case import Wanted
from .grams import Keys, needed
from .pages import all_ids, id_page, id_start, look_up
from .postings import all_of, any_of, bits_of

FEW, SOME, MORE = 10, 64, 128  # candidates read at once: what there are, the first, the others
TAIL, MANY = 300, 1000  # of the newest messages, which the index does not hold: first, and later
GROUPS = (32_768, 262_144, 2_097_152)
"""Messages of the blocks that are looked into at once: more, the longer it takes."""
TELLING = 4  # grams that are looked up for one text once it is known which are telling
JUDGED = 2000  # messages of a block that are enough to know which are
UNITED = 500  # grams that begin alike whose messages are put together at once
TRIES = 5
TURN_SECONDS = 0.005  # of looking at texts, after which others have their turn
AT_MOST = 5000  # messages asked for in one statement
_BIG, _INT = "CAST(? AS BIGINT)", "CAST(? AS INTEGER)"
"""Of a column of VALUES the first, by which PostgreSQL knows its type."""
Choices = Sequence[Sequence[Sequence[Keys]]]
"""For each text, for each of its forms, the grams that are in every message which contains it."""
Place = tuple[int, int]
"""A block, and a position in it."""
Batches = AsyncGenerator[list[Row], None]


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
    def is_empty(self) -> bool:
        return self.above >= self.below - 1

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
    edited: set[int]
    """Messages that it knows by an earlier text."""


class Finder:
    """Finds undeleted messages that contain some texts, as rows like those of `MESSAGES`."""

    def __init__(self, persistence: Persistence, worn: Callable[[int], None]) -> None:
        """`worn` is told of blocks that are better made again."""
        self._persistence = persistence
        self._worn = worn

    async def find(self, span: Span, wanted: Sequence[Wanted], most: int) -> list[Row]:
        """At most so many messages that contain all of `wanted`, in the order of the span."""
        found: list[Row] = []
        first, *others = wanted
        turn = perf_counter()
        async with aclosing(self._candidates(span, wanted, most)) as batches:
            async for batch in batches:
                for row in batch:
                    if perf_counter() - turn > TURN_SECONDS:
                        await asyncio.sleep(0)
                        turn = perf_counter()
                    text = row["content"]
                    if first.is_in(text) and all(each.is_in(text) for each in others):
                        found.append(row)
                        if len(found) == most:
                            return found
        return found

    async def _candidates(self, span: Span, wanted: Sequence[Wanted], most: int) -> Batches:
        size = max(TAIL, 2 * most)
        while True:
            rows = await self._fresh(span, size)
            if not span.newest_first:
                # Part of these may just have become a block. So blocks are asked for afterwards,
                # and come first.
                last = await self._last_block(span)
                if last is not None:
                    held = replace(span, below=min(span.below, last + 1))
                    async with aclosing(self._indexed(held, wanted)) as batches:
                        async for batch in batches:
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
            async with aclosing(self._indexed(span, wanted)) as batches:
                async for batch in batches:
                    yield batch

    async def _fresh(self, span: Span, size: int) -> list[Row]:
        """Messages that are in no block: what the index has not taken note of, and the tail. They
        are few, so they come first: CROSS tells SQLite so, and the subquery for the user both. Of
        two bounds to one side SQLite would seek by the first alone, so there is one."""
        where = (span.user_id, span.above, span.below)
        return await self._persistence.fetch_all(
            f"{SCATTERED} ("  # noqa: S608
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
        choices: Choices = [needed(each) for each in wanted]
        ahead = span  # where no block has been read yet
        waiting: list[Place] = []  # candidates that are not yet looked at
        edited: set[int] = set()
        size = tries = 0
        most = SOME
        more, judged = True, False
        while more:
            group, more = await self._group(ahead, _keys(choices), GROUPS[size])
            first = await self._positions(ahead, group[0]) if group else range(0)
            if first is None:
                tries, more = _another(tries), True
                continue
            edited.update(*(block.edited for block in group))
            async with aclosing(_places(group, choices, first, ahead)) as places:
                if group:
                    end = group[-1].first_id if span.newest_first else group[-1].last_id
                    ahead = ahead.past(end)
                more = more and not ahead.is_empty
                met, full = False, True
                while full:
                    full = await _fill(waiting, places, most)
                    met = met or bool(waiting)
                    if more and not full:
                        break  # by what the next blocks may fill it with
                    ids = await self._ids(waiting)
                    if ids is None:  # what was read of these blocks leads nowhere any more
                        tries, more = _another(tries), True
                        ahead, waiting, met = span, [], True
                        break
                    part = span.upto(ids[-1]) if full else span
                    chosen = {id for id in (*ids, *edited) if part.holds(id)}
                    if chosen:
                        rows = await self._rows(span, chosen)
                        self._judge(waiting, ids, rows)
                        yield rows
                    if full:
                        span, waiting, most = span.past(ids[-1]), [], MORE
                        if span.is_empty:
                            return
            if not judged and max((block.size for block in group), default=0) >= JUDGED:
                choices, judged = _telling(choices, group), True
            # Whatever has not been met so far is met seldom.
            size = min(size + 1, len(GROUPS) - 1) if met else len(GROUPS) - 1

    def _judge(self, places: Sequence[Place], ids: Sequence[int], rows: Sequence[Row]) -> None:
        """Tell of blocks whose candidates are mostly gone."""
        there = {row["id"] for row in rows}
        asked = Counter(block for block, _ in places)
        left = Counter(block for (block, _), id in zip(places, ids, strict=True) if id in there)
        for block, count in asked.items():
            if count > SOME // 2 and left[block] < count // 2:
                self._worn(block)

    async def _positions(self, span: Span, block: Held) -> range | None:
        """Those of a block's messages that are in the span; None if the block is no more. Only of
        the first block some may not be, having been passed already; those that come after its end
        are seen to be so."""
        passed = block.last_id >= span.below if span.newest_first else block.first_id <= span.above
        if not passed:
            return range(block.size)
        return await positions_between(self._persistence, block.id, span.above, span.below)

    async def _group(
        self, span: Span, wanted: Sequence[Keys], most: int
    ) -> tuple[list[Held], bool]:
        """The next blocks of a span that hold so many messages at most, or the next one, with what
        they know of these grams; and whether there are more blocks."""
        values = f"({_BIG}, {_BIG})" + ", (?, ?)" * (len(wanted) - 1)
        rows = await self._persistence.fetch_all(
            "WITH ahead AS (SELECT id, size, first_id, last_id, COUNT(*) OVER () AS blocks,"  # noqa: S608
            f" SUM(size) OVER (ORDER BY last_id {span.order}) AS total FROM search_block"
            " WHERE user_id = ? AND state = 1 AND last_id > ? AND first_id < ?),"
            " chosen AS (SELECT * FROM ahead WHERE total <= ? OR total = size),"
            f" wanted(first, last) AS (VALUES {values}), spans AS (SELECT c.*, w.first, w.last,"
            " (SELECT MAX(p.first_key) FROM search_page p"
            " WHERE p.block_id = c.id AND p.first_key <= w.first) AS start"
            " FROM chosen c CROSS JOIN wanted w)"
            " SELECT s.id, s.size, s.first_id, s.last_id, s.blocks, s.first, s.last, p.body"
            " FROM spans s JOIN search_page p ON p.block_id = s.id"
            " AND p.first_key >= s.start AND p.first_key <= s.last"
            " UNION ALL SELECT c.id, c.size, c.first_id, c.last_id, c.blocks, l.message_id, NULL,"
            " NULL FROM chosen c JOIN search_loose l ON l.block_id = c.id",
            (span.user_id, span.above, span.below, most, *chain.from_iterable(wanted)),
        )
        group: dict[int, Held] = {}
        for row in rows:
            block = group.get(row["id"])
            if block is None:
                block = Held(row["id"], row["size"], row["first_id"], row["last_id"], {}, set())
                group[block.id] = block
            if row["body"] is None:
                block.edited.add(row["first"])
            else:
                keys = row["first"], row["last"]
                block.postings.setdefault(keys, []).extend(look_up(row["body"], *keys))
        for block in group.values():
            if len(block.edited) > EDITED:
                self._worn(block.id)
        held = sorted(group.values(), key=lambda each: each.last_id, reverse=span.newest_first)
        return held, bool(rows) and rows[0]["blocks"] > len(held)

    async def _ids(self, places: Sequence[Place]) -> list[int] | None:
        """The messages at some places of blocks; None if one of these is no more."""
        if not places:
            return []
        wanted = [(block, id_page(place), id_start(place)) for block, place in places]
        size = _rounded(len(wanted))
        values = f"({_BIG}, {_BIG}, {_INT})" + ", (?, ?, ?)" * (size - 1)
        rows = await self._persistence.fetch_all(
            f"WITH wanted(block, page, start) AS (VALUES {values})"  # noqa: S608
            " SELECT w.*, (SELECT SUBSTR(p.body, w.start + 1, 8) FROM search_page p"
            " WHERE p.block_id = w.block AND p.first_key = w.page) AS body FROM wanted w",
            [*chain.from_iterable(wanted), *[0] * (3 * (size - len(wanted)))],
        )
        found = {(row["block"], row["page"], row["start"]): row["body"] for row in rows}
        bodies = [found[place] for place in wanted]
        return None if None in bodies else [id for body in bodies for id in all_ids(body)]

    async def _rows(self, span: Span, ids: set[int]) -> list[Row]:
        """Of any number of messages those that are there, in the order of the span."""
        order = sorted(ids, reverse=span.newest_first)
        rows: list[Row] = []
        for at in range(0, len(order), AT_MOST):
            some = order[at : at + AT_MOST]
            size = _rounded(len(some))
            marks = ", ".join("?" * size)
            rows += await self._persistence.fetch_all(
                f"{SCATTERED} message m WHERE m.id IN ({marks}) AND m.deleted_at IS NULL"
                f" ORDER BY m.id {span.order}",
                [*some, *some[:1] * (size - len(some))],
            )
        return rows


def _rounded(count: int) -> int:
    """Of how many a statement asks for so many: of few numbers, so that few are prepared."""
    return next((size for size in (FEW, SOME, MORE) if count <= size), count)


def _another(tries: int) -> int:
    """Count a block that was replaced while it was read: the search goes on with another."""
    if tries == TRIES:
        raise Busy("the search index is being made again; try again")
    return tries + 1


def _keys(choices: Choices) -> list[Keys]:
    """The grams to look up, each once."""
    return sorted({each for forms in choices for keys in forms for each in keys})


async def _fill(waiting: list[Place], places: AsyncIterator[Place], most: int) -> bool:
    """Add to what waits until there is that much; whether there was."""
    while len(waiting) < most:
        try:
            waiting.append(await anext(places))
        except StopAsyncIteration:
            return False
    return True


async def _places(
    group: Sequence[Held], choices: Choices, first: range, span: Span
) -> AsyncGenerator[Place]:
    """Each candidate of a group; in its first block only of some positions."""
    for block in group:
        found: set[int] | None = None
        for forms in sorted(choices, key=partial(_heft, block)):
            either = set[int]()
            for keys in forms:
                either |= await _meeting(block, keys)
            found = either if found is None else found & either
            if not found:
                break
        for place in sorted(found or (), reverse=span.newest_first):
            if block is not group[0] or place in first:
                yield block.id, place
        await asyncio.sleep(0)


def _heft(block: Held, forms: Sequence[Sequence[Keys]]) -> int:
    """How much is to be read of a block for one text: what is rare comes first."""
    return sum(sum(map(len, block.postings[each])) for keys in forms for each in keys)


async def _meeting(block: Held, keys: Sequence[Keys]) -> set[int]:
    """Where all of some grams are. More than one is asked for only where each is known whole."""
    held = [block.postings[each] for each in keys]
    if not all(held):
        return set()
    if len(held) > 1:
        return all_of(postings for [postings] in held)
    found: set[int] = set()
    for at in range(0, len(held[0]), UNITED):
        found |= any_of(held[0][at : at + UNITED])
        await asyncio.sleep(0)
    return found


def _telling(choices: Choices, group: Sequence[Held]) -> Choices:
    """Of the grams of each text those that together are in few messages, judged by the biggest of
    these blocks: of grams that stand side by side in many words, two tell little more than one."""
    block = max(group, key=lambda each: each.size)
    return [[_chosen(keys, block) for keys in forms] for forms in choices]


def _chosen(keys: Sequence[Keys], block: Held) -> Sequence[Keys]:
    if len(keys) == 1:
        return keys
    rarest, *others = sorted(keys, key=lambda each: sum(map(len, block.postings[each])))
    chosen, found = [rarest], bits_of(block.postings[rarest])
    while len(chosen) < TELLING and others:
        left = [found & bits_of(block.postings[each]) for each in others]
        at = min(range(len(left)), key=lambda place: left[place].bit_count())
        if found and left[at] == found:
            break  # these are nearly all that contain the text
        found = left[at]
        chosen.append(others.pop(at))
    return chosen
