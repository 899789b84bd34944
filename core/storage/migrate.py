"""Brings the schema up to date. The caller holds the lock that keeps other servers out."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def tortoise_config(path: Path, **pragmas: str) -> dict[str, Any]:
    """Tortoise's configuration for one SQLite file."""
    package = __name__.rpartition(".")[0]
    return {
        "connections": {
            "default": {
                "engine": f"{package}.sqlite",
                "credentials": {"file_path": str(path), **pragmas},
            }
        },
        "apps": {
            "core": {
                "models": [f"{package}.models"],
                "migrations": f"{package}.migrations",
                "default_connection": "default",
            }
        },
    }


async def migrate(path: Path) -> None:
    """Apply the migrations that this file has not seen: all of them, or none after a crash.

    Tortoise records a migration after the transaction that applied it; one transaction around
    everything leaves no moment between the two.
    """
    from tortoise.context import TortoiseContext
    from tortoise.migrations.executor import MigrationExecutor
    from tortoise.transactions import in_transaction

    # Tortoise changes a table by copying and dropping it; with foreign keys on, dropping it would
    # delete the rows that refer to it.
    config = tortoise_config(path, foreign_keys="OFF")
    async with TortoiseContext() as context:
        await context.init(config=config)
        async with in_transaction("default") as transaction:
            executor = MigrationExecutor(transaction, config["apps"])
            await executor.migrate(direction="forward")
            if broken := await transaction.execute_query_dict("PRAGMA foreign_key_check"):
                raise RuntimeError(f"a migration left rows that refer to nothing: {broken[:3]}")
