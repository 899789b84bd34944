"""Brings one SQLite file up to date. The folder's lease keeps other servers out meanwhile."""

from __future__ import annotations

from pathlib import Path

from ..migrate import migrating, tortoise_config


async def migrate(path: Path) -> None:
    """Apply the migrations that this file has not seen: all of them, or none after a crash."""
    # Tortoise changes a table by copying and dropping it; with foreign keys on, dropping it would
    # delete the rows that refer to it.
    config = tortoise_config("sqlite", file_path=str(path), foreign_keys="OFF")
    async with migrating(config, "sqlite") as transaction:
        if broken := await transaction.execute_query_dict("PRAGMA foreign_key_check"):
            raise RuntimeError(f"a migration left rows that refer to nothing: {broken[:3]}")
