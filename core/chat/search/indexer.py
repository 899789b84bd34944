"""Keeps the search index behind what is said: off the way of those who say it.

It follows the numbers of messages. What it has taken note of stands in its user's tail; of a tail
that has grown long a block is made, and of several small blocks a big one. What it has not come to
yet is looked at message by message, so a search is right at any moment, and after any crash.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import structlog

from ...storage.persistence import Persistence, Row, Transaction
from ...trouble import Trouble
from .blocks import PAGES, Block, Blocks, ids_in
from .building import HEAVY, Building
from .pages import Page

SMALL, BIG = 512, 8192  # messages of a block
NOTED = 500  # messages taken note of in one unit
TOGETHER = 40  # such units, after which blocks are made
WAITING = 500  # messages that are left for later, unless nothing is being said
ROUND_SECONDS = 2.0
READ = 64  # messages read at once
SLICE_SECONDS = 0.001  # of work, after which others have their turn
PAUSE_SECONDS = 0.003

log = structlog.get_logger(__name__)


class Indexer:
    """One task. `pause` is how long it rests after each slice of work."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._blocks = Blocks(persistence)
        self._task: asyncio.Task[None] | None = None
        self._newest = 0
        self._wake = asyncio.Event()
        self.pause = PAUSE_SECONDS
        self._worn: set[int] = set()
        self._slice = time.perf_counter()

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
        mark, newest = await self._mark(), await self._newest_message()
        quiet, self._newest = newest == self._newest, newest
        if newest > mark:
            if quiet or newest - mark >= WAITING:
                await self._follow(mark, newest)
            else:
                self.wake()
        self._worn.update(await self._blocks.worn())
        while self._worn:
            await self._renew(self._worn.pop())

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
        """Make blocks of a tail while it is as long as that, and big ones of many small ones."""
        while len(tail := await self._tail(user_id)) >= least:
            some = tail if len(tail) == BIG else tail[:SMALL]
            block, rest = await self._build(user_id, some)
            await self._blocks.publish(block, user_id, some[len(some) - len(rest) - 1])
            small = _newest_small(await self._blocks.of(user_id))
            if _is_big(small):
                await self._make_again(user_id, small)

    async def _tail(self, user_id: str) -> list[int]:
        rows = await self._persistence.fetch_all(
            "SELECT message_id FROM search_tail WHERE user_id = ? ORDER BY message_id LIMIT ?",
            (user_id, BIG),
        )
        return [row["message_id"] for row in rows]

    async def _make_again(self, user_id: str, blocks: Sequence[Block]) -> None:
        """One block of these, or as few as hold them, of what is left of their messages."""
        ids: Sequence[int] = [
            id for block in blocks for id in await ids_in(self._persistence, block.id)
        ]
        made: list[Block] = []
        while ids:
            block, ids = await self._build(user_id, ids)
            made += [block] if block is not None else []
        await self._blocks.replace(blocks, made)
        await self._blocks.sweep()

    async def _renew(self, id: int) -> None:
        owned = await self._blocks.owner(id)
        if owned is not None:
            user_id, block = owned
            await self._make_again(user_id, [block])

    async def _build(self, user_id: str, ids: Sequence[int]) -> tuple[Block | None, Sequence[int]]:
        """A block, not yet in use, of those of these messages that are still there, or None; and
        those that are left for another, as it is full."""
        block = await self._blocks.begin(user_id, ids[0], ids[-1])
        building = Building()
        done = 0
        while done < len(ids) and not building.is_full:
            some = ids[done : done + READ]
            done += len(some)
            for row in await self._contents(some):
                if building.is_full:
                    done = bisect_left(ids, row["id"])
                    break
                for _ in building.add(row["id"], row["content"]):
                    await self._breathe()
        if not building.ids:
            return None, ids[done:]
        pages: list[Page] = []
        for page in building.pages():
            if page is not None:
                pages.append(page)
            if len(pages) >= PAGES:
                await self._blocks.write(block, pages)
                pages = []
            await self._breathe()
        await self._blocks.write(block, pages)
        size, weight = len(building.ids), building.weight
        made = replace(block, size=size, weight=weight, last_id=building.ids[-1])
        return made, ids[done:]

    async def _contents(self, ids: Sequence[int]) -> list[Row]:
        """Those that are not deleted."""
        marks = ", ".join("?" * len(ids))
        return await self._persistence.fetch_all(
            f"SELECT id, content FROM message WHERE id IN ({marks})"  # noqa: S608
            " AND deleted_at IS NULL ORDER BY id",
            ids,
        )

    async def _breathe(self) -> None:
        if time.perf_counter() - self._slice > SLICE_SECONDS:
            await asyncio.sleep(self.pause)
            self._slice = time.perf_counter()


async def _take_note(tx: Transaction, noted: Iterable[tuple[str, int]], upto: int) -> None:
    await tx.execute_many("INSERT INTO search_tail (user_id, message_id) VALUES (?, ?)", noted)
    await tx.execute(
        "INSERT INTO search_mark (id, message_id) VALUES (1, ?)"
        " ON CONFLICT (id) DO UPDATE SET message_id = excluded.message_id",
        (upto,),
    )


def _newest_small(blocks: Sequence[Block]) -> list[Block]:
    """Those behind the newest big one, as many as make one: between them lies nothing."""
    found: list[Block] = []
    for block in reversed(blocks):
        if _is_big([block]) or _is_big(found):
            break
        found.append(block)
    return found[::-1]


def _is_big(blocks: Sequence[Block]) -> bool:
    size, weight = sum(each.size for each in blocks), sum(each.weight for each in blocks)
    return size >= BIG or weight >= HEAVY
