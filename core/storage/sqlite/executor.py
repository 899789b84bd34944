"""Tortoise's executor for SQLite, keeping each query in the task that asked for it."""

from __future__ import annotations

from collections.abc import Iterable

from tortoise.backends.sqlite.executor import SqliteExecutor
from tortoise.models import Model


class Executor(SqliteExecutor):
    """Prefetches relations one after another.

    Tortoise starts a task for each relation, which a transaction would refuse as strangers; on the
    one connection that there is, they would queue anyway.
    """

    async def _execute_prefetch_queries(self, instance_list: Iterable[Model]) -> Iterable[Model]:
        if instance_list and (self.prefetch_map or self._prefetch_queries):
            self._make_prefetch_queries()
            for field, queries in self._prefetch_queries.items():
                for query in queries:
                    await self._do_prefetch(instance_list, field, query)
        return instance_list
