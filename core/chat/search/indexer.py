"""Keeps the search index behind what is said: off the way of those who say it.

It follows the numbers of messages. What it has taken note of stands in its user's tail; of a tail
that has grown long a block is made, and of several blocks a bigger one. What it has not come to yet
is looked at message by message, so a search is right at any moment, and after any crash.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count, pairwise

import structlog

from ...storage.persistence import Persistence, Transaction
from ...trouble import Trouble
from .blocks import EDITED, Block, Blocks, ids_in
from .building import HEAVY
from .maker import Maker

SMALL, BIG = 256, 8192  # messages of a block that is made of texts
SIZES = (SMALL, 1024, BIG, 65_536)
"""Messages of blocks, at most: two bytes number them. As many of a size as make one of the next are
made into one."""
NOTED = 500  # messages taken note of in one unit
TOGETHER = 40  # such units, after which blocks are made
WAITING = 500  # messages that are left for later, unless nothing is being said
ROUND_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Indexer:
    """One task."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._blocks = Blocks(persistence)
        self.maker = Maker(persistence, self._blocks)
        self._task: asyncio.Task[None] | None = None
        self._newest = 0
        self._wake = asyncio.Event()
        self._worn: set[int] = set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="search-indexer")

    def wake(self) -> None:
        """Something was said, or may have been. Never blocks."""
        self._wake.set()

    def wear(self, block_id: int) -> None:
        """A block that is better made again: most of what a search found there is gone, or has been
        edited. Never blocks."""
        self._worn.add(block_id)
        self.wake()

    async def stop(self) -> None:
        """End at once: what is half made is made again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        begun = False
        trouble = Trouble(
            log, "the search index is behind; trying again", "the search index is made again"
        )
        self.wake()
        while True:
            await self._wake.wait()
            await asyncio.sleep(ROUND_SECONDS)
            self._wake.clear()
            try:
                if not begun:
                    await self.begin()
                    begun = True
                await self.round()
            except Exception as error:
                begun = False
                self.wake()
                trouble.met(error)
            else:
                trouble.passed()

    async def begin(self) -> None:
        """Take up what an earlier server has left."""
        await self._blocks.sweep()
        rows = await self._persistence.fetch_all(
            "SELECT user_id FROM search_tail GROUP BY user_id HAVING COUNT(*) >= ?", (SMALL,)
        )
        for row in rows:
            await self._index(row["user_id"])

    async def round(self) -> None:
        """Take note of what was said, unless more is just being said; make blocks of it."""
        await self._note()
        self._worn.update(await self._blocks.worn())
        while self._worn:
            await self._renew(self._worn.pop())
            await self._note()  # a huge block takes a while

    async def _note(self) -> None:
        mark, newest = await self._mark(), await self._newest_message()
        quiet, self._newest = newest == self._newest, newest
        if newest > mark:
            if quiet or newest - mark >= WAITING:
                await self._follow(mark, newest)
            else:
                self.wake()

    async def catch_up(self) -> None:
        """Index all there is now, at once."""
        mark, newest = await self._mark(), await self._newest_message()
        if newest > mark:
            await self._follow(mark, newest)

    async def _mark(self) -> int:
        row = await self._persistence.fetch_one("SELECT message_id FROM search_mark")
        return row[0] if row else 0

    async def _newest_message(self) -> int:
        row = await self._persistence.fetch_one("SELECT MAX(id) FROM message")
        return (row[0] if row else None) or 0

    async def _follow(self, mark: int, newest: int) -> None:
        # Numbers are not committed in their order; whoever has one up to the newest is waited for.
        await self._persistence.units_ended()
        behind: set[str] = set()
        for turn in count(1):
            rows = await self._persistence.fetch_all(
                "SELECT m.id, s.user_id FROM message m JOIN session s ON s.id = m.session_id"
                " WHERE m.id > ? AND m.id <= ? ORDER BY m.id LIMIT ?",
                (mark, newest, NOTED),
            )
            mark = rows[-1]["id"] if len(rows) == NOTED else newest
            noted = [(row["user_id"], row["id"]) for row in rows]
            await self._persistence.write(partial(_take_note, noted=noted, upto=mark))
            behind.update(user for user, _ in noted)
            if mark == newest or turn % TOGETHER == 0:
                # While there is more to come, no small ones are made that big ones would follow.
                least = SMALL if mark == newest else BIG
                for user_id in sorted(behind):
                    await self._index(user_id, least)
            if mark == newest:
                return

    async def _index(self, user_id: str, least: int = SMALL) -> None:
        """Make blocks of a tail while it is as long as that, and bigger ones of many."""
        while len(tail := await self._tail(user_id)) >= least:
            some = tail if len(tail) == BIG else tail[:SMALL]
            block, rest = await self.maker.of_texts(user_id, some)
            await self._blocks.publish(block, user_id, some[len(some) - len(rest) - 1])
            await self._join(user_id)

    async def _tail(self, user_id: str) -> list[int]:
        rows = await self._persistence.fetch_all(
            "SELECT message_id FROM search_tail WHERE user_id = ? ORDER BY message_id LIMIT ?",
            (user_id, BIG),
        )
        return [row["message_id"] for row in rows]

    async def _join(self, user_id: str) -> None:
        """Of blocks of a size, make one wherever there are many side by side."""
        while blocks := _many(await self._blocks.of(user_id)):
            await self._replace(blocks, [await self.maker.of_blocks(user_id, blocks)])

    async def _renew(self, id: int) -> None:
        """Make a block again, without what is gone."""
        owned = await self._blocks.owner(id)
        if owned is None:
            return
        user_id, block = owned
        made: list[Block | None] = []
        if await self._blocks.edited(id) > EDITED:
            ids: Sequence[int] = await ids_in(self._persistence, id)
            while ids:
                new, rest = await self.maker.of_texts(user_id, ids[:BIG])
                made.append(new)
                ids = [*rest, *ids[BIG:]]
        else:
            made.append(await self.maker.of_blocks(user_id, [block]))
        await self._replace([block], made)
        await self._join(user_id)

    async def _replace(self, olds: Sequence[Block], news: Sequence[Block | None]) -> None:
        await self._blocks.replace(olds, [new for new in news if new is not None])
        await self._blocks.sweep()


async def _take_note(tx: Transaction, noted: Iterable[tuple[str, int]], upto: int) -> None:
    await tx.execute_many("INSERT INTO search_tail (user_id, message_id) VALUES (?, ?)", noted)
    await tx.execute(
        "INSERT INTO search_mark (id, message_id) VALUES (1, ?)"
        " ON CONFLICT (id) DO UPDATE SET message_id = excluded.message_id",
        (upto,),
    )


def _many(blocks: Sequence[Block]) -> list[Block]:
    """The first blocks side by side of one size that make one of the next."""
    for size, (messages, more) in enumerate(pairwise(SIZES)):
        found: list[Block] = []
        for block in blocks:
            found = [*found, block] if _size(block) == size else []
            heavy = messages < BIG and sum(each.weight for each in found) >= HEAVY
            if len(found) == more // messages or (heavy and len(found) > 1):
                return found
    return []


def _size(block: Block) -> int:
    """Which of the sizes it has. What has lost much of what it held counts as what is left."""
    size = bisect_left(SIZES, block.size)
    if block.weight >= HEAVY:  # full, though it holds few; or made of such
        size = max(size, SIZES.index(BIG) + (block.weight >= 2 * HEAVY))
    return size
