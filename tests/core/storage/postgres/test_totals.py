"""What everybody has used is added up by units at the same time."""

from __future__ import annotations

import asyncio

import asyncpg
from postgresql import Databases

REPLY = """
    INSERT INTO model_usage (user_id, session_id, day, model, calls, tokens_in, tokens_out, cost)
    VALUES ('ann', $1, 0, $2, 1, 2, 3, 4)
"""
WAITS = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $1"


async def test_the_first_units_of_all_may_name_models_in_any_order(postgres: Databases) -> None:
    url = postgres.new()
    one, two, look = [await asyncpg.connect(url) for _ in range(3)]
    sessions = {one: 1, two: 65}  # added up in the same row

    async def unit(connection: asyncpg.Connection, *models: str) -> None:
        async with connection.transaction():
            for model in models:
                await connection.execute(REPLY, sessions[connection], model)

    async with asyncio.timeout(60):
        first = one.transaction()
        await first.start()
        await one.execute(REPLY, sessions[one], "a")
        second = asyncio.create_task(unit(two, "b", "a"))
        while await look.fetchval(WAITS, two.get_server_pid()) != "Lock":
            await asyncio.sleep(0.01)
        await one.execute(REPLY, sessions[one], "b")
        await first.commit()
        await second
        rows = await look.fetch("SELECT model, calls, cost FROM system_model_usage ORDER BY model")
    assert [tuple(row) for row in rows] == [("a", 2, 8), ("b", 2, 8)]
    for connection in (one, two, look):
        await connection.close()
    postgres.drop(url)
