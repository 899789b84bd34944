"""Tortoise's client for PostgreSQL, given its address as one URL."""

from __future__ import annotations

from typing import Any

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient


class PostgresClient(AsyncpgDBClient):
    """Connects as asyncpg reads the URL, so that migrations and units reach the same database."""

    async def create_pool(self, **kwargs: Any) -> asyncpg.Pool:
        return await asyncpg.create_pool(
            kwargs["dsn"],
            min_size=kwargs["min_size"],
            max_size=kwargs["max_size"],
            server_settings=kwargs["server_settings"],
        )
