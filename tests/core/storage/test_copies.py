"""The databases of the tests themselves: migrated once, and copied for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from mission_system.core.storage.sqlite.database import SqliteDatabase


@pytest.mark.sqlite
async def test_a_test_gets_a_copy_of_what_was_migrated_once(tmp_path: Path) -> None:
    """Migrating takes half a second, a copy of it none: with a thousand tests that is what they
    all take."""
    times: list[str] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        database = SqliteDatabase(tmp_path / name)
        await database.open()
        row = await database.fetch_one("SELECT MAX(applied_at) FROM tortoise_migrations")
        await database.close()
        assert row is not None
        times.append(row[0])
    assert times[0] == times[1]
