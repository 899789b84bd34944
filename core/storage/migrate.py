"""Brings a schema up to date, in whatever database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .persistence import DatabaseUnusable
from .tables import CATALOG, differing


def tortoise_config(engine: str, **credentials: str) -> dict[str, Any]:
    """Tortoise's configuration for one database; `engine` is a package beside this module."""
    package = __name__.rpartition(".")[0]
    return {
        "connections": {
            "default": {"engine": f"{package}.{engine}", "credentials": credentials},
        },
        "apps": {
            "core": {
                "models": [f"{package}.models", f"{package}.search_models"],
                "migrations": f"{package}.migrations",
                "default_connection": "default",
            }
        },
    }


@asynccontextmanager
async def migrating(config: dict[str, Any], backend: str) -> AsyncIterator[Any]:
    """Apply the migrations that the database has not seen; the body may check the result.

    Tortoise records a migration after the transaction that applied it; one transaction around
    everything leaves no moment between the two. The caller keeps other servers out.

    Raises:
        DatabaseUnusable: a newer version has changed the database in ways unknown to this one, or
            its tables are not those that are recorded as made.
    """
    from tortoise.context import TortoiseContext
    from tortoise.migrations.executor import MigrationExecutor
    from tortoise.transactions import in_transaction

    async with TortoiseContext() as context:
        await context.init(config=config)
        async with in_transaction("default") as transaction:
            executor = MigrationExecutor(transaction, config["apps"])
            # Tortoise first looks into its table of migrations and passes over the error that there
            # is none; PostgreSQL takes no statement after that.
            await executor.recorder.ensure_schema(executor._schema_editor(atomic=False))
            await executor.loader.build_graph()
            applied = await executor.recorder.applied_migrations()
            if unknown := sorted(
                key.name for key in set(applied) - set(executor.loader.graph.nodes)
            ):
                raise DatabaseUnusable(
                    f"a newer version of Mission System has changed the database: {unknown[0]}."
                    " Start that version, or give this one data of its own with MISSION_DATA or"
                    " MISSION_DATABASE_URL."
                )
            await executor.migrate(direction="forward")
            if difference := differing(await transaction.execute_query_dict(CATALOG[backend])):
                raise DatabaseUnusable(
                    f"the database {difference}: a development version of Mission System made"
                    " it, or somebody has changed it. Move it away or restore a copy, or give this"
                    " version data of its own with MISSION_DATA or MISSION_DATABASE_URL."
                )
            yield transaction
