"""Blocks made into one from their pages: no text is read again, and little memory is taken.

The grams of all come in order, a stretch of each block at a time, and of each gram its positions
are put together. What is gone meanwhile is left out, and leaves no trace.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter

from ...storage.persistence import Persistence
from .pages import Packing, Page, all_postings, id_pages
from .postings import Moved, joined

READ = 20  # pages of a block read at once
TOGETHER, LONG = 20, 1000  # grams that are merged in one step; bytes of one that is a step itself
Entry = tuple[int, "Source", bytes]
_key = itemgetter(0)


class Source:
    """A block, read from its first gram to its last."""

    def __init__(self, persistence: Persistence, block_id: int, moved: Moved) -> None:
        """`moved`: where its messages are in the block that is made."""
        self._persistence = persistence
        self._block_id = block_id
        self.moved = moved
        self._entries: list[Entry] = []
        self._read_to = -1  # first key of the last page that was read
        self.ended = False

    @property
    def last(self) -> int:
        """The last key that was read."""
        return self._entries[-1][0]

    async def read(self) -> None:
        """Have something to merge, unless all has been."""
        if self._entries or self.ended:
            return
        pages = await self._persistence.fetch_all(
            "SELECT first_key, body FROM search_page WHERE block_id = ? AND first_key > ?"
            " ORDER BY first_key LIMIT ?",
            (self._block_id, self._read_to, READ),
        )
        self.ended = len(pages) < READ
        for page in pages:
            self._read_to = page["first_key"]
            self._entries += [(key, self, body) for key, body in all_postings(page["body"])]

    def upto(self, key: int | None) -> list[Entry]:
        """What was read, up to a key, or all."""
        entries = self._entries
        end = len(entries)
        if key is not None:
            end = next((at for at, entry in enumerate(entries) if entry[0] > key), end)
        self._entries = entries[end:]
        return entries[:end]


async def merged(sources: Sequence[Source], ids: Sequence[int]) -> AsyncGenerator[Page | None]:
    """The pages of the block of these messages; None is a step without one."""
    for page in id_pages(ids):
        yield page
    packing, steps = Packing(), 0
    while True:
        for source in sources:
            await source.read()
        # Beyond the last key of a block that has more, another may still have to come first.
        unread = [source.last for source in sources if not source.ended]
        parts = [source.upto(min(unread, default=None)) for source in sources]
        if not any(parts):
            break
        for key, entries in groupby(merge(*parts, key=_key), _key):
            body = joined([(source.moved, body) for _, source, body in entries], len(ids))
            full = packing.add(key, body) if body is not None else None
            steps += 1
            if full is not None or steps % TOGETHER == 0 or len(body or b"") > LONG:
                yield full
    yield packing.rest()
