"""A connection is taken for one piece of work at a time, and kept at hand for the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from postgresql import Databases

from mission_system.core.errors import Unavailable
from mission_system.core.storage.postgres.pool import Pool

SIZE = 2
SESSION = "SELECT pg_backend_pid()"
OTHERS = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@pytest.fixture
async def url(postgres: Databases) -> AsyncIterator[str]:
    url = postgres.new()
    yield url
    postgres.drop(url)


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    pool = Pool(url, SIZE)
    await pool.open()
    yield pool
    await pool.close()


async def ask(pool: Pool, sql: str = SESSION) -> Any:
    async with pool.connection() as connection:
        return await connection.fetchval(sql)


async def test_one_after_another_uses_the_same_session_and_asyncpgs_pool_no_more(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await ask(pool)
    monkeypatch.setattr(pool, "_pool", None)
    assert [await ask(pool) for _ in range(3)] == [first] * 3


async def test_work_that_fails_or_is_cancelled_costs_no_place(pool: Pool) -> None:
    for _ in range(2 * SIZE):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await ask(pool, "SELECT 1 / 0")
        sleeping = asyncio.create_task(ask(pool, "SELECT pg_sleep(60)"))
        await asyncio.sleep(0.05)
        sleeping.cancel()
        await asyncio.gather(sleeping, return_exceptions=True)
    async with asyncio.timeout(10):
        assert len({*await asyncio.gather(*(ask(pool) for _ in range(10 * SIZE)))}) <= SIZE


async def test_where_all_are_taken_the_next_waits_and_not_for_ever(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mission_system.core.storage.postgres.pool.ACQUIRE_SECONDS", 0.2)
    async with pool.connection(), pool.connection():
        with pytest.raises(Unavailable, match="gave no connection"):
            await ask(pool)
        waiting = asyncio.create_task(ask(pool))
        await asyncio.sleep(0.05)
    assert await waiting


async def test_session_that_ended_meanwhile_is_replaced(pool: Pool, url: str) -> None:
    first = await ask(pool)
    killer = await asyncpg.connect(url)
    await killer.execute("SELECT pg_terminate_backend($1)", first)
    await asyncio.sleep(0.2)
    assert await ask(pool) != first
    await killer.close()


async def test_closing_ends_all_sessions_also_that_of_what_is_under_way(url: str) -> None:
    pool = Pool(url, SIZE)
    await pool.open()
    await asyncio.gather(*(ask(pool) for _ in range(SIZE)))
    working = asyncio.create_task(ask(pool, "SELECT pg_sleep(0.3)"))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(3):  # less than it would wait for one that is kept
        await pool.close()
    await working
    watcher = await asyncpg.connect(url)
    async with asyncio.timeout(10):
        while await watcher.fetchval(OTHERS):
            await asyncio.sleep(0.02)
    await watcher.close()
