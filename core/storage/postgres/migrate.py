"""Brings one PostgreSQL schema up to date, one server at a time."""

from __future__ import annotations

from ..migrate import migrating, tortoise_config
from .connection import connect
from .locks import MIGRATION

WAIT_SECONDS = 300


async def migrate(url: str) -> None:
    """Apply the migrations that the schema has not seen: all of them, or none after a crash.

    The lock lies on a connection of its own, so that whatever becomes of the migration's
    transaction, it ends with this call; of servers that start together the others wait for it.
    """
    connection = await connect(url, statement_timeout=f"{WAIT_SECONDS}s")
    try:
        await connection.execute(MIGRATION.wait, timeout=WAIT_SECONDS)
        config = tortoise_config("postgres", dsn=url, minsize="1", maxsize="2")
        async with migrating(config, "postgresql"):
            pass
    finally:
        connection.terminate()
