"""The database as a whole: leased, migrated, in line with its models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mission_system.core.storage.database import Database
from mission_system.core.storage.lease import FolderUnusable, Lease
from mission_system.core.storage.migrate import tortoise_config
from mission_system.core.storage.persistence import NothingStored, Transaction
from mission_system.core.storage.sqlite import database as sqlite_database
from mission_system.core.storage.sqlite.database import DatabaseUnusable, SqliteDatabase
from mission_system.core.storage.sqlite.migrate import migrate


async def one(tx: Transaction) -> int:
    return await tx.insert("INSERT INTO stream (name, last_seq, first_seq) VALUES ('s', 0, 1)")


async def test_failed_open_gives_the_lease_back(tmp_path: Path) -> None:
    (tmp_path / "mission.sqlite3").write_text("this is no database" * 100)
    with pytest.raises(DatabaseUnusable, match="not a database"):
        await SqliteDatabase(tmp_path).open()
    assert Lease.read(tmp_path) is None


async def test_folder_where_the_file_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "mission.sqlite3").mkdir()
    for opening in (SqliteDatabase(tmp_path).open, SqliteDatabase(tmp_path).open_beside):
        with pytest.raises(
            FolderUnusable, match=r"mission\.sqlite3'\. Move away what is in the way"
        ):
            await opening()
    assert Lease.read(tmp_path) is None


async def test_opening_beside_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(NothingStored, match="start a server there first"):
        await SqliteDatabase(tmp_path).open_beside()
    assert list(tmp_path.iterdir()) == []


async def test_opening_beside_makes_no_table(make: Callable[[], Database]) -> None:
    async def drop(tx: Transaction) -> None:
        await tx.execute("DROP TABLE token")

    database = make()
    await database.open()
    await database.close()
    await database.open_beside()
    await database.write(drop)
    await database.close()
    with pytest.raises(NothingStored, match="there is no table token"):
        await make().open_beside()


async def test_database_file_is_private(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path)
    await database.open()
    await database.close()
    assert (tmp_path / "mission.sqlite3").stat().st_mode & 0o077 == 0


async def test_migrations_make_exactly_what_the_models_describe(tmp_path: Path) -> None:
    from tortoise.context import TortoiseContext
    from tortoise.migrations.autodetector import MigrationAutodetector

    config = tortoise_config("sqlite", file_path=str(tmp_path / "x.sqlite3"))
    async with TortoiseContext() as context:
        await context.init(config=config)
        assert context.apps is not None
        detector = MigrationAutodetector(context.apps, config["apps"])
        changes = await detector.changes()
    assert [writer.name for writer in changes] == []


async def test_migration_that_cannot_be_recorded_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tortoise.migrations.recorder import MigrationRecorder

    monkeypatch.setattr(sqlite_database, "migrate", migrate)  # no copy of what is migrated

    async def crash(*_: object) -> None:
        raise RuntimeError("killed here")

    monkeypatch.setattr(sqlite_database, "migrate", migrate)  # and not a copy made ready
    with monkeypatch.context() as patch:
        patch.setattr(MigrationRecorder, "record_applied", crash)
        with pytest.raises(RuntimeError, match="killed here"):
            await SqliteDatabase(tmp_path).open()
    database = SqliteDatabase(tmp_path)
    await database.open()
    assert await database.write(one) == 1
    await database.close()


async def test_database_that_a_newer_version_has_changed_is_refused(
    make: Callable[[], Database],
) -> None:
    database = make()
    await database.open()

    async def later(tx: Transaction) -> None:
        await tx.execute(
            "INSERT INTO tortoise_migrations (app, name, applied_at)"
            " SELECT app, '0002_later', applied_at FROM tortoise_migrations"
        )

    await database.write(later)
    await database.close()
    for _ in range(2):  # the lease is not left behind either
        with pytest.raises(DatabaseUnusable, match=r"newer version.*0002_later"):
            await make().open()


UNKNOWN = (
    "DROP TABLE token",
    "CREATE TABLE token (id VARCHAR(36) PRIMARY KEY, label TEXT, user_id TEXT, role TEXT,"
    " digest TEXT, created_at BIGINT, expires_at BIGINT, revoked_at BIGINT, old BIGINT NOT NULL)",
)


@pytest.mark.parametrize(
    ("sql", "differs"),
    [
        (("DROP TABLE system_usage",), "lacks table system_usage:"),
        (
            ("ALTER TABLE process RENAME COLUMN session_id TO x",),
            r"lacks column process\.session_id:",
        ),
        (("DROP TABLE system_usage", "DROP TABLE token"), "lacks table system_usage and 1 more:"),
        (UNKNOWN, r"has column token\.old, which this version does not fill:"),
    ],
)
async def test_database_whose_tables_are_not_those_of_this_version_is_refused(
    make: Callable[[], Database], sql: tuple[str, ...], differs: str
) -> None:
    database = make()
    await database.open()

    async def change(tx: Transaction) -> None:
        for statement in sql:
            await tx.execute(statement)

    await database.write(change)
    await database.close()
    for _ in range(2):  # the lease is not left behind either
        with pytest.raises(DatabaseUnusable, match=f"{differs} a development version"):
            await make().open()


async def test_column_that_need_not_be_filled_is_in_the_way_of_nothing(
    make: Callable[[], Database],
) -> None:
    database = make()
    await database.open()

    async def change(tx: Transaction) -> None:
        await tx.execute("ALTER TABLE token ADD COLUMN old BIGINT")
        await tx.execute("ALTER TABLE token ADD COLUMN older BIGINT NOT NULL DEFAULT 0")

    await database.write(change)
    await database.close()
    again = make()
    await again.open()
    await again.close()
