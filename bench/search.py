"""What a search costs among many messages of one user, on SQLite or PostgreSQL.

    .venv/bin/python bench/search.py [messages] [searches of a kind] [postgres://...]

The messages are made up from a seed: words of a dictionary by Zipf's law, numbers, some Chinese and
some emoji. They are stored as they would be, then indexed as the server does it in the background,
only without its pauses. Each query is asked a few times and its fastest answer counts, so that what
else the machine does matters less; the percentiles are over the queries of a kind. A database that
is named should be empty, and one to be dropped.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import quantiles
from typing import Any

import asyncpg

from mission_system.core.chat.records import Session
from mission_system.core.chat.service import ChatService
from mission_system.core.clock import now
from mission_system.core.events.log import EventLog
from mission_system.core.identity import Caller
from mission_system.core.settings import Settings
from mission_system.core.storage.database import Database, make_database
from mission_system.core.storage.persistence import Transaction
from mission_system.core.storage.sqlite.database import SqliteDatabase

SEED = 1
MESSAGES = 1_000_000
SEARCHES = 200
TRIES = 5
WORDS = 20_000
TOGETHER = 2000  # messages stored in one unit
PER_SESSION = 200
ANN = Caller("ann")
LETTERS = "etaoinshrdlcumwfgypbvkjxqz"
HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]
EMOJI = [chr(code) for code in range(0x1F600, 0x1F640)]


class Author:
    """Says things of 5 to 80 words."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        shares = [1 / (place + 1) for place in range(len(LETTERS))]
        words: dict[str, None] = {}
        while len(words) < WORDS:
            length = self.random.randint(2 if len(words) < 100 else 4, 9)
            words["".join(self.random.choices(LETTERS, shares, k=length))] = None
        self.words = list(words)
        self._heaped = list(accumulate(1 / (place + 1) for place in range(WORDS)))

    def say(self) -> str:
        kind = self.random.random()
        if kind < 0.03:
            return "".join(self.random.choices(HAN, k=self.random.randint(5, 60)))
        words = self.random.choices(
            self.words, cum_weights=self._heaped, k=self.random.randint(5, 80)
        )
        if kind < 0.3:
            words.append(f"#{self.random.randrange(10**6)}")
        if kind > 0.99:
            words.append(self.random.choice(EMOJI))
        return " ".join(words).capitalize()


def queries(author: Author) -> dict[str, Iterator[str]]:
    """For each kind of query an endless row of them."""
    chance, words = author.random, author.words

    def endless(make: Any) -> Iterator[str]:
        while True:
            yield make()

    def piece(word: str) -> str:
        at = chance.randrange(len(word) - 2)
        return word[at : at + 3]

    return {
        name: endless(make)
        for name, make in {
            "rare word": lambda: chance.choice(words[WORDS // 2 :]),
            "word": lambda: chance.choice(words[100 : WORDS // 2]),
            "most common word": lambda: chance.choice(words[:20]),
            "two words": lambda: " ".join(chance.choices(words[:2000], k=2)),
            "number": lambda: f"#{chance.randrange(10**6)}",
            "three letters of a word": lambda: piece(chance.choice(words[1000:])),
            "two letters": lambda: "".join(chance.choices(LETTERS, k=2)),
            "one letter": lambda: chance.choice(LETTERS),
            "one emoji": lambda: chance.choice(EMOJI),
            "two of Chinese": lambda: "".join(chance.choices(HAN, k=2)),
            "not there": lambda: f"{chance.choice(words)}%_{chance.choice(words)}",
        }.items()
    }


@dataclass(frozen=True, slots=True)
class Times:
    """In milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: list[float]) -> Times:
        cuts = quantiles(seconds, n=100, method="inclusive")
        return cls(cuts[49] * 1000, cuts[98] * 1000)

    def __str__(self) -> str:
        return f"{self.p50:>9.2f} {self.p99:>9.2f}"


async def fill(database: Database, chat: ChatService, author: Author, count: int) -> None:
    """Messages in sessions, as rows; what else belongs to a turn is left out."""
    at = now() - count * 1000
    for start in range(0, count, TOGETHER):
        sessions: list[Session] = [
            await chat.create_session(ANN, title="T") for _ in range(TOGETHER // PER_SESSION)
        ]
        rows = [
            (
                sessions[place % len(sessions)].id,
                "assistant" if place % 2 else "user",
                author.say(),
                at + (start + place) * 1000,
            )
            for place in range(min(TOGETHER, count - start))
        ]

        async def unit(tx: Transaction, rows: list[tuple[Any, ...]] = rows) -> None:
            await tx.execute_many(
                "INSERT INTO message (session_id, role, content, created_at) VALUES (?, ?, ?, ?)",
                rows,
            )

        await database.write(unit)


async def size_of(database: Database) -> int:
    """Bytes of the database."""
    if isinstance(database, SqliteDatabase):
        sql = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    else:
        sql = "SELECT pg_database_size(current_database())"
    row = await database.fetch_one(sql)
    assert row is not None
    return int(row[0])


async def insert_times(chat: ChatService, database: Database, author: Author) -> Times:
    """Of one message stored in a unit of its own."""
    session = await chat.create_session(ANN, title="T")
    times: list[float] = []
    for _ in range(300):
        text = author.say()
        began = time.perf_counter()
        await database.write(
            lambda tx, text=text: chat.insert_message(  # type: ignore[misc]
                tx, session.id, None, "user", text, now()
            )
        )
        times.append(time.perf_counter() - began)
    return Times.of(times)


async def measure(count: int, searches: int, url: str | None) -> dict[str, Times]:
    author = Author(SEED)
    async with stocked(author, count, url) as (_, chat):
        return await search_times(chat, author, searches)


@asynccontextmanager
async def vacuumed(url: str | None) -> AsyncIterator[None]:
    """What autovacuum does, which may be off: once a minute, and at the end. The tail of what is
    indexed is dead rows."""
    if url is None:
        yield
        return
    connection = await asyncpg.connect(url)

    async def now_and_then() -> None:
        while True:
            await asyncio.sleep(60)
            await connection.execute("VACUUM ANALYZE")

    task = asyncio.create_task(now_and_then())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connection.close()
    connection = await asyncpg.connect(url)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


@asynccontextmanager
async def stocked(
    author: Author, count: int, url: str | None = None
) -> AsyncIterator[tuple[Database, ChatService]]:
    """A database with so many messages that are indexed; tells what that has cost."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder), database_url=url)  # type: ignore[arg-type]
        database = make_database(settings)
        await database.open()
        try:
            chat = ChatService(database, EventLog(database, lambda *_: None))
            chat.indexer.maker.pause = 0
            began = time.perf_counter()
            await fill(database, chat, author, count)
            stored = await size_of(database)
            print(f"{count:,} messages, {stored / 1e6:,.0f} MB", flush=True)
            print(f"stored in {time.perf_counter() - began:.0f} s", flush=True)
            print(f"one message stored, ms: {await insert_times(chat, database, author)}")
            began, processor = time.perf_counter(), time.process_time()
            async with vacuumed(url):
                await chat.indexer.catch_up()
            took, processor = time.perf_counter() - began, time.process_time() - processor
            size = await size_of(database) - stored
            print(
                f"indexed in {took:.0f} s, {processor / count * 1e6:.0f} us of processor a message;"
                f" {size / 1e6:,.0f} MB, {size / count:.0f} bytes a message",
                flush=True,
            )
            yield database, chat
        finally:
            await database.close()


async def search_times(chat: ChatService, author: Author, searches: int) -> dict[str, Times]:
    print(f"{'query':<24} {'p50 ms':>9} {'p99 ms':>9} {'cpu ms':>8} {'found':>6}")
    kinds = queries(author)
    found: dict[str, Times] = {}
    for kind, texts in kinds.items():
        times: list[float] = []
        results, processor = 0, time.process_time()
        for _ in range(searches):
            text = next(texts)
            tries: list[float] = []
            for number in range(TRIES):
                began = time.perf_counter()
                page = await chat.search(ANN, text)
                tries.append(time.perf_counter() - began)
                results += len(page.items) if number == 0 else 0
            times.append(min(tries))
        found[kind] = Times.of(times)
        used = (time.process_time() - processor) / (searches * TRIES) * 1000
        print(f"{kind:<24} {found[kind]} {used:>8.2f} {results / searches:>6.1f}", flush=True)
    return found


def main(count: int = MESSAGES, searches: int = SEARCHES, url: str | None = None) -> None:
    asyncio.run(measure(count, searches, url))


if __name__ == "__main__":
    count, searches, url, *_ = [*sys.argv[1:], *("",) * 3]
    main(int(count or MESSAGES), int(searches or SEARCHES), url or None)
