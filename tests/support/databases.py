"""The kind of database that a run of the tests is about: one for each data folder.

SQLite, or PostgreSQL with `MISSION_TEST_DATABASE=postgres`. A test of what only SQLite has is
marked `sqlite`, and reported as skipped on the other.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest
from postgresql import Databases, run
from pydantic import SecretStr

from mission_system.core import runtime
from mission_system.core.settings import Settings
from mission_system.core.storage.database import Database, Params, make_database
from mission_system.core.storage.postgres.statements import numbered
from mission_system.core.storage.sqlite import database as sqlite_database
from mission_system.core.storage.sqlite.migrate import migrate

CHOSEN = os.environ.get("MISSION_TEST_DATABASE", "sqlite")


class ChosenDatabases(Protocol):
    """What tests do with a database behind the back of the server that uses it."""

    def environment(self, folder: Path) -> dict[str, str]:
        """The variables that lead a server on this folder to its database."""
        ...

    def make(self, settings: Settings) -> Database:
        """The database of the folder that the settings name, not yet open."""
        ...

    def rows(self, folder: Path, sql: str) -> Sequence[Any]:
        """What a SELECT finds, by name or position, whether a server runs or not."""
        ...

    def scans(self, folder: Path, sql: str, params: Params) -> Sequence[str]:
        """The parts of a query's plan that read a table from end to end, for want of an index."""
        ...

    def bury(self, folder: Path) -> None:
        """Let go of what a server of this process still holds, whose event loop is closed."""
        ...

    def drop(self) -> None:
        """Remove what has been made since the last `keep`."""
        ...

    def keep(self) -> None:
        """Leave what there is now to tests that follow."""
        ...


class SqliteFiles:
    """Empty ones are filled with a copy of one that has been migrated, which takes a fraction of
    the time; the migrations then find nothing left to do."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template.sqlite3"

    async def migrate(self, path: Path) -> None:
        if _is_empty(path):
            if not self._template.exists():
                made = self._template.with_suffix(".new")
                made.touch(mode=0o600)
                await migrate(made)
                with closing(sqlite3.connect(made)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                made.rename(self._template)
            path.write_bytes(self._template.read_bytes())
        await migrate(path)

    def environment(self, folder: Path) -> dict[str, str]:
        return {}

    def make(self, settings: Settings) -> Database:
        return make_database(settings)

    def rows(self, folder: Path, sql: str, params: Params = ()) -> Sequence[Any]:
        file = folder / "mission.sqlite3"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, params).fetchall()

    def scans(self, folder: Path, sql: str, params: Params) -> Sequence[str]:
        plan = [row["detail"] for row in self.rows(folder, f"EXPLAIN QUERY PLAN {sql}", params)]
        return [step for step in plan if step.startswith("SCAN")]

    def bury(self, folder: Path) -> None:
        pass

    def drop(self) -> None:
        pass

    def keep(self) -> None:
        pass


def _is_empty(path: Path) -> bool:
    """Whether it has no table. Its size does not tell: who opens a file writes how it is kept."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0


class PostgresDatabases:
    """Settings that name a database themselves mean that one."""

    def __init__(self, postgres: Databases) -> None:
        self._postgres = postgres
        self._urls: dict[Path, str] = {}
        self._kept: set[Path] = set()

    def url(self, folder: Path) -> str:
        if folder not in self._urls:
            self._urls[folder] = self._postgres.new()
        return self._urls[folder]

    def environment(self, folder: Path) -> dict[str, str]:
        return {"MISSION_DATABASE_URL": self.url(folder)}

    def make(self, settings: Settings) -> Database:
        if settings.database_url is None:
            url = SecretStr(self.url(settings.data))
            settings = settings.model_copy(update={"database_url": url})
        return make_database(settings)

    def rows(self, folder: Path, sql: str, params: Params = (), **settings: str) -> Sequence[Any]:
        async def read() -> Sequence[Any]:
            connection = await asyncpg.connect(self.url(folder), server_settings=settings)
            try:
                rows: Sequence[Any] = await connection.fetch(numbered(sql), *params)
                return rows
            finally:
                await connection.close()

        return run(read)

    def scans(self, folder: Path, sql: str, params: Params) -> Sequence[str]:
        plan = [row[0] for row in self.rows(folder, f"EXPLAIN {sql}", params, enable_seqscan="off")]
        return [step for step in plan if "Seq Scan" in step]

    def bury(self, folder: Path) -> None:
        name = self.url(folder).partition("?")[0].rpartition("/")[2]
        self._postgres.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )

    def keep(self) -> None:
        self._kept = set(self._urls)

    def drop(self) -> None:
        for folder in set(self._urls) - self._kept:
            self._postgres.drop(self._urls.pop(folder))

    def close(self) -> None:
        self._kept = set()
        self.drop()


@pytest.fixture(scope="session", autouse=True)
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ChosenDatabases]:
    """Gives each data folder a database of the kind that this run is about."""
    if CHOSEN == "sqlite":
        files = SqliteFiles(tmp_path_factory.mktemp("template"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite_database, "migrate", files.migrate)
            yield files
        return
    chosen = PostgresDatabases(request.getfixturevalue("postgres"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "make_database", chosen.make)
        yield chosen
    chosen.close()


@pytest.fixture(autouse=CHOSEN != "sqlite")
def databases_dropped(databases: ChosenDatabases) -> Iterator[None]:
    """Drops what a test has used, so that a long run does not fill the disk."""
    databases.keep()
    yield
    databases.drop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if CHOSEN != "sqlite" and item.get_closest_marker("sqlite"):
            item.add_marker(pytest.mark.skip(reason="about SQLite itself"))
