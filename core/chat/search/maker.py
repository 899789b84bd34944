"""Makes blocks of the search index, of messages or of other blocks, in small steps."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import compress

from ...storage.persistence import Persistence, Row
from .blocks import PAGES, Block, Blocks, ids_in
from .building import Building
from .merging import Source, merged
from .pages import Page
from .postings import Moved

READ = 64  # messages read at once
LOOKED_UP = 500  # the same where it is only asked which are there
SLICE_SECONDS = 0.001  # of work, after which others have their turn
PAUSE_SECONDS = 0.003


class Maker:
    """Each method gives a block that is not yet in use, or None where it would hold nothing.
    `pause` is how long it rests after each slice of work."""

    def __init__(self, persistence: Persistence, blocks: Blocks) -> None:
        self._persistence = persistence
        self._blocks = blocks
        self._slice = time.perf_counter()
        self.pause = PAUSE_SECONDS

    async def of_texts(
        self, user_id: str, ids: Sequence[int]
    ) -> tuple[Block | None, Sequence[int]]:
        """Of those of these messages that are still there; and those that are left for another
        block, as it is full."""
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
        await self._write(block, _each(building.pages()))
        size, weight = len(building.ids), building.weight
        made = replace(block, size=size, weight=weight, last_id=building.ids[-1])
        return made, ids[done:]

    async def of_blocks(self, user_id: str, sources: Sequence[Block]) -> Block | None:
        """Of what is left of the messages of these blocks, which follow each other."""
        block = await self._blocks.begin(user_id, sources[0].first_id, sources[-1].last_id)
        await self._blocks.take_over(block, sources)
        ids: list[int] = []
        parts: list[Source] = []
        for source in sources:
            there = await ids_in(self._persistence, source.id)
            kept = await self._kept(there)
            parts.append(Source(self._persistence, source.id, Moved.of(len(ids), kept)))
            ids += compress(there, kept)
        if not ids:
            return None
        async with aclosing(merged(parts, ids)) as pages:
            await self._write(block, pages)
        held = sum(source.size for source in sources)
        weight = sum(source.weight for source in sources) * len(ids) // held
        return replace(block, size=len(ids), weight=weight, last_id=ids[-1])

    async def _write(self, block: Block, made: AsyncIterable[Page | None]) -> None:
        pages: list[Page] = []
        async for page in made:
            if page is not None:
                pages.append(page)
            if len(pages) >= PAGES:
                await self._blocks.write(block, pages)
                pages = []
            await self._breathe()
        await self._blocks.write(block, pages)

    async def _contents(self, ids: Sequence[int]) -> list[Row]:
        """Those that are not deleted."""
        marks = ", ".join("?" * len(ids))
        return await self._persistence.fetch_all(
            f"SELECT id, content FROM message WHERE id IN ({marks})"  # noqa: S608
            " AND deleted_at IS NULL ORDER BY id",
            ids,
        )

    async def _kept(self, ids: Sequence[int]) -> bytes:
        """For each message 1, or 0 if it is deleted."""
        kept = bytearray()
        for at in range(0, len(ids), LOOKED_UP):
            some = ids[at : at + LOOKED_UP]
            rows = await self._persistence.fetch_all(
                f"SELECT id FROM message WHERE id IN ({', '.join('?' * len(some))})"  # noqa: S608
                " AND deleted_at IS NULL",
                some,
            )
            left = {row["id"] for row in rows}
            kept += bytes(id in left for id in some)
            await self._breathe()
        return bytes(kept)

    async def _breathe(self) -> None:
        if time.perf_counter() - self._slice > SLICE_SECONDS:
            await asyncio.sleep(self.pause)
            self._slice = time.perf_counter()


async def _each(pages: Iterator[Page | None]) -> AsyncIterator[Page | None]:
    for page in pages:
        yield page
