"""Which session is at which place of a long list, so that a page far into it costs what the first
does.

An offset has to be counted, and a database counts by walking. Of users who page far into their
sessions the order is kept in memory: two numbers a session, brought up to date by whoever is told
that a session has changed. It is read when it is first needed, and may be forgotten at any time.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..clock import Micros
from ..storage.persistence import Persistence
from .paging import BIGGEST

DEEP = 1000  # the offset from which on places are kept, of users who have as many sessions
READ = 5000  # sessions read at once
CHUNK = 1000  # sessions; one of twice as many becomes two
MOST = 2_000_000  # sessions whose places are kept, of all users together
CHANGED = 10_000  # sessions that may have changed before it is cheaper to read all again


@dataclass(slots=True)
class Chunk:
    """Some sessions that follow each other, the least active first."""

    times: array[int] = field(default_factory=lambda: array("q"))
    ids: array[int] = field(default_factory=lambda: array("q"))

    def place(self, time: Micros, id: int) -> int:
        first, last = bisect_left(self.times, time), bisect_right(self.times, time)
        return bisect_left(self.ids, id, first, last)


@dataclass(slots=True)
class Order:
    """The sessions of one user by activity."""

    chunks: list[Chunk] = field(default_factory=lambda: [Chunk()])
    newest: int = 0  # the highest number that has ever been in it
    changed: set[int] = field(default_factory=set)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_read: bool = False

    @property
    def size(self) -> int:
        return sum(len(chunk.ids) for chunk in self.chunks)

    def add(self, time: Micros, id: int) -> None:
        self.newest = max(self.newest, id)
        number = self._chunk_for(time, id)
        chunk = self.chunks[number]
        place = chunk.place(time, id)
        chunk.times.insert(place, time)
        chunk.ids.insert(place, id)
        if len(chunk.ids) >= 2 * CHUNK:
            half = len(chunk.ids) // 2
            self.chunks.insert(number + 1, Chunk(chunk.times[half:], chunk.ids[half:]))
            del chunk.times[half:], chunk.ids[half:]

    def remove(self, ids: set[int]) -> None:
        """Wherever they are. Those that were active last are found first."""
        left = {id for id in ids if id <= self.newest}
        for chunk in reversed(self.chunks):
            if not left:
                break
            here = left.intersection(chunk.ids)
            for id in here:
                place = chunk.ids.index(id)
                del chunk.times[place], chunk.ids[place]
            left -= here
        self.chunks = [chunk for chunk in self.chunks if chunk.ids] or [Chunk()]

    def page(self, since: Micros, offset: int, size: int) -> list[int]:
        found: list[int] = []
        for time, id in self.from_place(offset):
            if time < since or len(found) == size:
                break
            found.append(id)
        return found

    def from_place(self, offset: int) -> Iterator[tuple[Micros, int]]:
        """Times and numbers from a place on, the last active first."""
        for chunk in reversed(self.chunks):
            if offset >= len(chunk.ids):
                offset -= len(chunk.ids)
                continue
            for place in range(len(chunk.ids) - 1 - offset, -1, -1):
                yield chunk.times[place], chunk.ids[place]
            offset = 0

    def _chunk_for(self, time: Micros, id: int) -> int:
        for number in range(len(self.chunks) - 1, 0, -1):
            chunk = self.chunks[number]
            if (chunk.times[0], chunk.ids[0]) <= (time, id):
                return number
        return 0


class Places:
    """The orders that are kept, of users who page far into their sessions."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._orders: OrderedDict[tuple[str, bool], Order] = OrderedDict()

    def touch(self, user_id: str, session: int) -> None:
        """This session may have changed: called after each commit that did it."""
        for with_deleted in (False, True):
            order = self._orders.get((user_id, with_deleted))
            if order is not None:
                order.changed.add(session)
                if len(order.changed) > CHANGED:
                    del self._orders[user_id, with_deleted]

    async def page(
        self, user_id: str, include_deleted: bool, since: Micros, offset: int, size: int
    ) -> list[int] | None:
        """The numbers of the sessions at these places, fewer at the end; None where there are too
        many to keep."""
        key = (user_id, include_deleted)
        while True:
            order = self._orders.setdefault(key, Order())
            self._orders.move_to_end(key)
            async with order.reading:  # a change that comes meanwhile is seen by the next
                if self._orders.get(key) is not order:
                    continue  # forgotten meanwhile: nobody tells it of changes any more
                try:
                    if not order.is_read:
                        order.is_read = await self._read(order, user_id, include_deleted)
                        if not order.is_read:
                            self._forget(key, order)
                            return None
                    if order.changed:
                        await self._refresh(order, user_id, include_deleted)
                except BaseException:  # not read, or half refreshed
                    self._forget(key, order)
                    raise
                if order.size < DEEP:  # anybody can ask for the thousandth session of anybody
                    self._forget(key, order)
                self._make_room()
                return order.page(since, offset, size)

    async def _read(self, order: Order, user_id: str, include_deleted: bool) -> bool:
        time: Micros = -BIGGEST
        id = read = 0
        times, ids, met = array("q"), array("q"), set[int]()
        while True:
            rows = await self._persistence.fetch_all(
                "SELECT last_activity, id FROM session WHERE user_id = ?"  # noqa: S608
                " AND (last_activity, id) > (?, ?)"
                + ("" if include_deleted else " AND deleted_at IS NULL")
                + " ORDER BY last_activity, id LIMIT ?",
                (user_id, time, id, READ),
            )
            for row in rows:
                time, id = row["last_activity"], row["id"]
                times.append(time)
                ids.append(id)
                if id in met:  # it moved while it was read, and nobody has told yet
                    order.changed.add(id)
                met.add(id)
            read += len(rows)
            if read > MOST:
                return False
            if len(rows) < READ:
                break
        order.newest = max(ids, default=0)
        if order.changed:  # what moved while it was read may be in it twice: it is read again
            kept = [place for place, id in enumerate(ids) if id not in order.changed]
            times = array("q", (times[place] for place in kept))
            ids = array("q", (ids[place] for place in kept))
        order.chunks = [
            Chunk(times[at : at + CHUNK], ids[at : at + CHUNK]) for at in range(0, len(ids), CHUNK)
        ] or [Chunk()]
        return True

    async def _refresh(self, order: Order, user_id: str, include_deleted: bool) -> None:
        changed, order.changed = order.changed, set()
        order.remove(changed)
        for some in _portions(sorted(changed)):
            marks = ", ".join("?" * len(some))
            rows = await self._persistence.fetch_all(
                "SELECT last_activity, id FROM session WHERE user_id = ?"  # noqa: S608
                + ("" if include_deleted else " AND deleted_at IS NULL")
                + f" AND id IN ({marks})",
                (user_id, *some),
            )
            for row in rows:
                order.add(row["last_activity"], row["id"])

    def _make_room(self) -> None:
        sizes = {key: order.size for key, order in self._orders.items() if order.is_read}
        kept = sum(sizes.values())
        for key in list(sizes)[:-1]:  # the one asked for last stays, and who is being read
            if kept <= MOST:
                break
            del self._orders[key]
            kept -= sizes[key]

    def _forget(self, key: tuple[str, bool], order: Order) -> None:
        if self._orders.get(key) is order:
            del self._orders[key]


def _portions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(ids), 500):
        yield ids[at : at + 500]
