"""Both kinds of database, for tests that hold on either."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from postgresql import Databases

from mission_system.core.storage.database import Database
from mission_system.core.storage.postgres.database import PostgresDatabase
from mission_system.core.storage.sqlite.database import SqliteDatabase


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Makes databases, not yet open, that all lie on the same data."""
    if request.param == "sqlite":
        yield lambda: SqliteDatabase(tmp_path)
        return
    postgres: Databases = request.getfixturevalue("postgres")
    url = postgres.new()
    yield lambda: PostgresDatabase(url, tmp_path)
    postgres.drop(url)


@pytest.fixture
async def database(make: Callable[[], Database]) -> AsyncIterator[Database]:
    database = make()
    await database.open()
    yield database
    await database.close()
