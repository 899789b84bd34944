"""What a search reads, each in one statement: so all of it is as it was at one moment.

Each is written so that there is one way to carry it out. PostgreSQL guesses that a page among those
of a block is some hundreds, and were there a join to be done, would now and then read all pages of
all blocks for it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain

from ...storage.persistence import Persistence, Row
from ..rows import SCATTERED
from .blocks import positions_between
from .grams import Keys
from .pages import all_ids, id_at, id_page, look_up
from .span import Span
from .turn import Turn

AT_MOST = 5000  # messages asked for in one statement
# How many are asked for at once: of few sizes, so that few statements are prepared.
GRAMS = (10, 20, 40, 80, 160, 320)
SIZES = (10, 64, 128, 256, 384, 512)  # of candidates
MESSAGES = (*SIZES, 1024, 2048, AT_MOST)
_BIG = "CAST(? AS BIGINT)"
"""Of a column of VALUES the first, by which PostgreSQL knows its type."""
_MORE_PAGES = (
    ", more(id, size, first_id, last_id, blocks, first, last, page) AS ("
    "SELECT c.*, w.first, w.last, w.first FROM chosen c CROSS JOIN wanted w WHERE w.first < w.last"
    " UNION ALL SELECT m.id, m.size, m.first_id, m.last_id, m.blocks, m.first, m.last,"
    " (SELECT MIN(p.first_key) FROM search_page p"
    " WHERE p.block_id = m.id AND p.first_key > m.page AND p.first_key <= m.last)"
    " FROM more m WHERE m.page IS NOT NULL)"
)
"""Of keys that follow each other, the pages but the first: one after the other."""
Place = tuple[int, int]
"""A block, and a position in it."""


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


class Reads:
    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence

    async def fresh(self, span: Span, size: int) -> list[Row]:
        """The first messages of a span that are in no block, each with its text, or None if it is
        gone: what the index has not taken note of, and the tail. Of two bounds to one side SQLite
        would seek by the first alone, so there is one."""
        where = (span.user_id, span.above, span.below, size)
        return await self._persistence.fetch_all(
            "SELECT * FROM (SELECT m.id, m.content FROM message m"  # noqa: S608
            " WHERE (SELECT s.user_id FROM session s WHERE s.id = m.session_id) = ?"
            " AND m.id > (SELECT MAX(k.bound) FROM (SELECT message_id AS bound FROM search_mark"
            " UNION ALL SELECT CAST(? AS BIGINT)) k) AND m.id < ? AND m.deleted_at IS NULL"
            f" ORDER BY m.id {span.order} LIMIT ?) unnoted"
            " UNION ALL SELECT * FROM (SELECT t.message_id, (SELECT m.content FROM message m"
            " WHERE m.id = t.message_id AND m.deleted_at IS NULL) FROM search_tail t"
            " WHERE t.user_id = ? AND t.message_id > ? AND t.message_id < ?"
            f" ORDER BY t.message_id {span.order} LIMIT ?) tail ORDER BY 1 {span.order} LIMIT ?",
            (*where, *where, size),
        )

    async def last_block(self, span: Span) -> int | None:
        """The last message that a block holds of a span."""
        row = await self._persistence.fetch_one(
            "SELECT MAX(last_id) FROM search_block"
            " WHERE user_id = ? AND state = 1 AND last_id > ? AND first_id < ?",
            (span.user_id, span.above, span.below),
        )
        return row[0] if row else None

    async def group(self, span: Span, wanted: Sequence[Keys], most: int) -> tuple[list[Held], bool]:
        """The next blocks of a span that hold so many messages at most, or the next one, with what
        they know of these grams; and whether there are more blocks."""
        padding = _rounded(len(wanted), GRAMS) - len(wanted)
        values = f"({_BIG}, {_BIG})" + ", (?, ?)" * (len(wanted) + padding - 1)
        many = any(first < last for first, last in wanted)
        rows = await self._persistence.fetch_all(
            "WITH RECURSIVE ahead AS (SELECT id, size, first_id, last_id,"  # noqa: S608
            f" COUNT(*) OVER () AS blocks, SUM(size) OVER (ORDER BY last_id {span.order}) AS total"
            " FROM search_block WHERE user_id = ? AND state = 1 AND last_id > ? AND first_id < ?),"
            " chosen AS (SELECT id, size, first_id, last_id, blocks FROM ahead"
            " WHERE total <= ? OR total = size),"
            f" wanted(first, last) AS (SELECT DISTINCT * FROM (VALUES {values}) asked)"
            + (_MORE_PAGES if many else "")
            + " SELECT c.*, w.first, w.last, (SELECT p.body FROM search_page p"
            " WHERE p.block_id = c.id AND p.first_key <= w.first"
            " ORDER BY p.first_key DESC LIMIT 1) AS body"
            " FROM chosen c CROSS JOIN wanted w"
            + (
                " UNION ALL SELECT m.id, m.size, m.first_id, m.last_id, m.blocks, m.first, m.last,"
                " (SELECT p.body FROM search_page p WHERE p.block_id = m.id"
                " AND p.first_key = m.page) FROM more m WHERE m.page > m.first"
                if many
                else ""
            )
            + " UNION ALL SELECT c.*, l.message_id, NULL, NULL"
            " FROM chosen c JOIN search_loose l ON l.block_id = c.id",
            (
                *(span.user_id, span.above, span.below, most),
                *chain.from_iterable((*wanted, *[wanted[0]] * padding)),
            ),
        )
        group: dict[int, Held] = {}
        turn = Turn()
        for row in rows:
            await turn.over()
            block = group.get(row["id"])
            if block is None:
                block = Held(row["id"], row["size"], row["first_id"], row["last_id"], {}, set())
                group[block.id] = block
            if row["last"] is None:
                block.edited.add(row["first"])
            else:
                keys = row["first"], row["last"]
                block.postings.setdefault(keys, []).extend(look_up(row["body"], *keys))
        held = sorted(group.values(), key=lambda each: each.last_id, reverse=span.newest_first)
        return held, bool(rows) and rows[0]["blocks"] > len(held)

    async def positions(self, span: Span, block: Held) -> range | None:
        """Those of a block's messages that are in the span; None if the block is no more. Only of
        the first block some may not be, having been passed already; those that come after its end
        are seen to be so."""
        passed = block.last_id >= span.below if span.newest_first else block.first_id <= span.above
        if not passed:
            return range(block.size)
        return await positions_between(self._persistence, block.id, span.above, span.below)

    async def ids(self, places: Sequence[Place]) -> list[int] | None:
        """The messages at some places of blocks; None if one of these is no more."""
        if not places:
            return []
        size = _rounded(len(places), MESSAGES)
        values = f"({_BIG}, {_BIG})" + ", (?, ?)" * (size - 1)
        rows = await self._persistence.fetch_all(
            f"WITH wanted(block, place) AS (VALUES {values})"  # noqa: S608
            f" SELECT w.block, w.place, (SELECT {id_at('p.body', 'w.place')} FROM search_page p"
            f" WHERE p.block_id = w.block AND p.first_key = {id_page('w.place')}) AS body"
            " FROM wanted w",
            [*chain.from_iterable(places), *[0] * (2 * (size - len(places)))],
        )
        found = {(row[0], row[1]): row[2] for row in rows}
        bodies = [found[place] for place in places]
        return None if None in bodies else list(all_ids(b"".join(bodies)))

    async def of(self, span: Span, ids: Collection[int], *, whole: bool = True) -> list[Row]:
        """Of any number of messages those that are there, in the order of the span; or no more of
        each than its number and its text, which takes half the time."""
        select = SCATTERED if whole else "SELECT m.id, m.content FROM"
        order = sorted(ids, reverse=span.newest_first)
        rows: list[Row] = []
        for at in range(0, len(order), AT_MOST):
            some = order[at : at + AT_MOST]
            size = _rounded(len(some), MESSAGES)
            marks = ", ".join("?" * size)
            rows += await self._persistence.fetch_all(
                f"{select} message m WHERE m.id IN ({marks}) AND m.deleted_at IS NULL"
                f" ORDER BY m.id {span.order}",
                [*some, *some[:1] * (size - len(some))],
            )
        return rows


def _rounded(count: int, sizes: Sequence[int]) -> int:
    """Of how many a statement asks for so many."""
    return next((size for size in sizes if count <= size), count)
