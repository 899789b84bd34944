"""Blocks of the search index: the rows they are kept in, and what becomes of them.

A block holds consecutive messages of one user. It is written in small units while nobody reads it,
then published in one, which takes its messages off the tail or retires the blocks that it replaces.
So whatever is read at one moment is whole, and what a crash leaves behind is swept away.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from ...storage.persistence import Persistence, Row, Transaction
from .pages import Page, all_ids, first_position

PAGES = 50  # written or removed in one unit
EDITED = 256  # messages of a block edited, at which it is better made again, of texts
UNFINISHED, IN_USE = 0, 1
_ID_PAGES = (
    "FROM search_block b JOIN search_page p ON p.block_id = b.id WHERE b.id = ? AND b.state = ?"
)


@dataclass(frozen=True, slots=True)
class Block:
    id: int
    size: int  # messages
    weight: int  # what it takes to make it, see `building`
    first_id: int
    last_id: int


class Blocks:
    """Reads and writes them; whether and when is for the indexer to say."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence

    async def of(self, user_id: str) -> list[Block]:
        """A user's blocks in use, oldest messages first."""
        rows = await self._persistence.fetch_all(
            "SELECT * FROM search_block WHERE user_id = ? AND state = ? ORDER BY last_id",
            (user_id, IN_USE),
        )
        return [_block(row) for row in rows]

    async def worn(self) -> list[int]:
        """Those that hold what has been removed for good."""
        rows = await self._persistence.fetch_all(
            "SELECT id FROM search_block WHERE state = ? AND worn = 1", (IN_USE,)
        )
        return [row["id"] for row in rows]

    async def owner(self, id: int) -> tuple[str, Block] | None:
        """Whose block this is, while it is in use."""
        row = await self._persistence.fetch_one(
            "SELECT * FROM search_block WHERE id = ? AND state = ?", (id, IN_USE)
        )
        if row is None:
            return None
        return row["user_id"], _block(row)

    async def edited(self, block_id: int) -> int:
        """How many messages of a block have been edited since it was made."""
        row = await self._persistence.fetch_one(
            "SELECT COUNT(*) FROM search_loose WHERE block_id = ?", (block_id,)
        )
        assert row is not None
        return int(row[0])

    async def begin(self, user_id: str, first_id: int, last_id: int) -> Block:
        """A block that nobody reads yet. From now on edits and removals of messages between these
        are noted in it; those that did not see it have ended when this returns."""

        async def unit(tx: Transaction) -> int:
            return await tx.insert(
                "INSERT INTO search_block (user_id, state, worn, size, weight, first_id, last_id)"
                " VALUES (?, ?, 0, 0, 0, ?, ?)",
                (user_id, UNFINISHED, first_id, last_id),
            )

        id = await self._persistence.write(unit)
        await self._persistence.units_ended()
        return Block(id, 0, 0, first_id, last_id)

    async def take_over(self, block: Block, sources: Sequence[Block]) -> None:
        """A block that is made of others, not of texts, knows the texts that those know: what was
        edited since, and is still there, is noted in it too."""

        async def unit(tx: Transaction) -> None:
            for source in sources:
                await tx.execute(
                    "INSERT INTO search_loose (block_id, message_id)"
                    " SELECT CAST(? AS BIGINT), m.id FROM search_loose l"
                    " CROSS JOIN message m WHERE l.block_id = ? AND m.id = l.message_id"
                    " AND m.deleted_at IS NULL ON CONFLICT DO NOTHING",
                    (block.id, source.id),
                )

        await self._persistence.write(unit)

    async def write(self, block: Block, pages: Iterable[Page]) -> None:
        rows = [(block.id, *page) for page in pages]
        await self._persistence.write(
            lambda tx: tx.execute_many(
                "INSERT INTO search_page (block_id, first_key, body) VALUES (?, ?, ?)", rows
            )
        )

    async def publish(self, block: Block | None, user_id: str, upto: int) -> None:
        """Let it be read, in place of the tail up to this message; None leaves nothing of it."""

        async def unit(tx: Transaction) -> None:
            await tx.execute(
                "DELETE FROM search_tail WHERE user_id = ? AND message_id <= ?", (user_id, upto)
            )
            if block is not None:
                await _use(tx, block)

        await self._persistence.write(unit)

    async def replace(self, olds: Sequence[Block], news: Sequence[Block]) -> None:
        """Let these be read in place of those, which are removed."""

        async def unit(tx: Transaction) -> None:
            for old in sorted(olds, key=lambda each: each.id):  # the order of `note_edit`
                await tx.execute(
                    "UPDATE search_block SET state = ? WHERE id = ?", (UNFINISHED, old.id)
                )
            for new in news:
                await _use(tx, new)

        await self._persistence.write(unit)

    async def sweep(self) -> None:
        """Remove what is not in use: left by a crash, or replaced."""
        rows = await self._persistence.fetch_all(
            "SELECT id FROM search_block WHERE state = ?", (UNFINISHED,)
        )
        for row in rows:
            while await self._persistence.write(partial(_remove_pages, block=row["id"])):
                pass
            await self._persistence.write(partial(_remove_block, block=row["id"]))


async def ids_in(persistence: Persistence, block_id: int) -> list[int]:
    """The messages that a block holds, oldest first, whatever has become of them; none once it is
    no longer in use."""
    rows = await persistence.fetch_all(
        f"SELECT p.body {_ID_PAGES} AND p.first_key < 0 ORDER BY p.first_key DESC",
        (block_id, IN_USE),
    )
    return [id for row in rows for id in all_ids(row["body"])]


async def positions_between(
    persistence: Persistence, block_id: int, above: int, below: int
) -> range | None:
    """Of a block, the positions of its messages with numbers between these two; None once it is no
    longer in use."""
    heads = await persistence.fetch_all(
        f"SELECT p.first_key, SUBSTR(p.body, 1, 8) AS head {_ID_PAGES} AND p.first_key < 0"
        " ORDER BY p.first_key DESC",
        (block_id, IN_USE),
    )
    if not heads:
        return None
    first_ids = [id for row in heads for id in all_ids(row["head"])]
    bounds = (above, below - 1)
    keys = [heads[max(0, bisect(first_ids, bound) - 1)]["first_key"] for bound in bounds]
    rows = await persistence.fetch_all(
        f"SELECT p.first_key, p.body {_ID_PAGES} AND p.first_key IN (?, ?)",
        (block_id, IN_USE, *keys),
    )
    ids = {row["first_key"]: all_ids(row["body"]) for row in rows}
    if not ids:
        return None
    return range(
        *(
            first_position(key) + bisect(ids[key], bound)
            for key, bound in zip(keys, bounds, strict=True)
        )
    )


async def note_edit(tx: Transaction, user_id: str, message_id: int) -> None:
    """In the unit that edits a message: the index knows the text as it was.

    The blocks are held: one that is being removed right now is waited for, and not found."""
    await tx.lock(
        "SELECT id FROM search_block WHERE user_id = ? AND first_id <= ? AND last_id >= ?"
        " ORDER BY id",
        (user_id, message_id, message_id),
    )
    await tx.execute(
        "INSERT INTO search_loose (block_id, message_id)"
        " SELECT b.id, m.id FROM search_block b, message m WHERE m.id = ? AND b.user_id = ?"
        " AND b.first_id <= m.id AND b.last_id >= m.id ON CONFLICT DO NOTHING",
        (message_id, user_id),
    )


async def note_removal(tx: Transaction, user_id: str, message_id: int) -> None:
    """In the unit that removes a message for good, before it does: the index forgets it."""
    await tx.execute(
        "DELETE FROM search_tail WHERE user_id = ? AND message_id = ?", (user_id, message_id)
    )
    await tx.execute(
        "UPDATE search_block SET worn = 1 WHERE user_id = ? AND first_id <= ? AND last_id >= ?",
        (user_id, message_id, message_id),
    )


async def note_removal_of_session(tx: Transaction, user_id: str, session: int) -> None:
    """The same for all messages of a session."""
    await tx.execute(
        "DELETE FROM search_tail WHERE user_id = ?"
        " AND message_id IN (SELECT id FROM message WHERE session_id = ?)",
        (user_id, session),
    )
    await tx.execute(
        "UPDATE search_block SET worn = 1 WHERE user_id = ? AND EXISTS (SELECT 1 FROM message m"
        " WHERE m.session_id = ? AND m.id >= first_id AND m.id <= last_id)",
        (user_id, session),
    )


async def _remove_pages(tx: Transaction, block: int) -> int:
    return await tx.execute(
        "DELETE FROM search_page WHERE id IN"
        " (SELECT id FROM search_page WHERE block_id = ? LIMIT ?)",
        (block, PAGES),
    )


async def _remove_block(tx: Transaction, block: int) -> None:
    await tx.execute("DELETE FROM search_block WHERE id = ?", (block,))


async def _use(tx: Transaction, block: Block) -> None:
    await tx.execute(
        "UPDATE search_block SET state = ?, size = ?, weight = ?, last_id = ? WHERE id = ?",
        (IN_USE, block.size, block.weight, block.last_id, block.id),
    )


def _block(row: Row) -> Block:
    return Block(row["id"], row["size"], row["weight"], row["first_id"], row["last_id"])
