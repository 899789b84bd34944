"""Tortoise's migrations on the SQLite engine: all of a change, or nothing of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.connection import get_connection
from tortoise.context import TortoiseContext
from tortoise.exceptions import OperationalError
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget
from tortoise.transactions import in_transaction

ENGINE = "mission_system.core.storage.sqlite"
APPS = {"shop": {"models": ["shop.models"], "migrations": "shop.migrations"}}
MODELS = """
from tortoise import fields
from tortoise.models import Model

class Shelf(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=50)

class Item(Model):
    id = fields.IntField(primary_key=True)
    shelf = fields.ForeignKeyField("shop.Shelf", related_name="items")
"""
FIRST = """
from tortoise import fields, migrations
from tortoise.migrations import operations as ops

class Migration(migrations.Migration):
    initial = True
    operations = [
        ops.CreateModel(
            name="Shelf",
            fields=[
                ("id", fields.IntField(primary_key=True, generated=True)),
                ("name", fields.CharField(max_length=50)),
                ("colour", fields.CharField(max_length=50, null=True)),
            ],
            options={"table": "shelf", "app": "shop", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Item",
            fields=[
                ("id", fields.IntField(primary_key=True, generated=True)),
                ("shelf", fields.ForeignKeyField("shop.Shelf", source_field="shelf_id",
                    to_field="id", related_name="items")),
            ],
            options={"table": "item", "app": "shop", "pk_attr": "id"},
            bases=["Model"],
        ),
    ]
"""
SECOND = """
from tortoise import migrations
from tortoise.migrations import operations as ops

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_first")]
    operations = [ops.RemoveField(model_name="Shelf", name="colour")]
"""
THIRD = """
from tortoise import fields, migrations
from tortoise.migrations import operations as ops

class Migration(migrations.Migration):
    dependencies = [("shop", "0002_second")]
    operations = [
        ops.AddField(model_name="Shelf", name="size", field=fields.IntField(null=True)),
        ops.RunSQL("INSERT INTO no_such_table VALUES (1)"),
    ]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.sqlite3"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "code" / "shop"
    (package / "migrations").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "migrations" / "__init__.py").touch()
    (package / "models.py").write_text(MODELS)
    (package / "migrations" / "0001_first.py").write_text(FIRST)
    (package / "migrations" / "0002_second.py").write_text(SECOND)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(package.parent)
    return package


@asynccontextmanager
async def database(path: Path) -> AsyncIterator[BaseDBAsyncClient]:
    # To change a table, Tortoise copies and drops it; with foreign keys on, dropping it would
    # delete the rows that refer to it, wherever the key says CASCADE.
    credentials = {"file_path": str(path), "foreign_keys": "OFF"}
    async with TortoiseContext() as context:
        await context.init(
            config={
                "connections": {"default": {"engine": ENGINE, "credentials": credentials}},
                "apps": APPS,
            }
        )
        yield context.db()


async def migrate(name: str, progress: Callable[[str, str, str], None] | None = None) -> None:
    executor = MigrationExecutor(get_connection("default"), APPS)
    await executor.migrate([MigrationTarget("shop", name)], progress=progress)


async def test_migrations_go_forward_and_backward_and_keep_rows(path: Path, shop: Path) -> None:
    async with database(path) as client:
        await migrate("0001_first")
        await client.execute_script(
            "INSERT INTO shelf (id, name) VALUES (1, 'a'); INSERT INTO item (shelf_id) VALUES (1)"
        )
        await migrate("__latest__")
        assert await client.execute_query_dict("SELECT * FROM shelf") == [{"id": 1, "name": "a"}]
        assert await client.execute_query_dict("SELECT * FROM item") == [{"id": 1, "shelf_id": 1}]
        await migrate("0001_first")
        [shelf] = await client.execute_query_dict("SELECT * FROM shelf")
        assert shelf == {"id": 1, "name": "a", "colour": None}
        assert await client.execute_query_dict("PRAGMA foreign_key_check") == []


async def test_migration_that_fails_leaves_nothing_of_itself(path: Path, shop: Path) -> None:
    (shop / "migrations" / "0003_third.py").write_text(THIRD)
    async with database(path) as client:
        with pytest.raises(OperationalError, match="no_such_table"):
            await migrate("__latest__")
        applied = await client.execute_query_dict("SELECT name FROM tortoise_migrations")
        assert [row["name"] for row in applied] == ["0001_first", "0002_second"]
        columns = await client.execute_query_dict("PRAGMA table_info(shelf)")
        assert [column["name"] for column in columns] == ["id", "name"]


@pytest.mark.parametrize("migration", ["0001_first", "0002_second"])
@pytest.mark.parametrize("event", ["apply_start", "apply_done"])
async def test_migrations_in_one_transaction_are_undone_together_when_cancelled(
    path: Path, shop: Path, migration: str, event: str
) -> None:
    def cancel(happened: str, app: str, name: str) -> None:
        # After apply_done comes the record of it, in Tortoise's hands a transaction of its own.
        if (happened, name) == (event, migration):
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    async def migrate_all(progress: Callable[[str, str, str], None] | None) -> None:
        async with in_transaction():
            await migrate("__latest__", progress)

    async with database(path) as client:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(migrate_all(cancel))
        assert await client.execute_query_dict("SELECT name FROM sqlite_master") == []
        await migrate_all(None)
        [row] = await client.execute_query_dict("SELECT count(*) AS n FROM tortoise_migrations")
        assert row == {"n": 2}
