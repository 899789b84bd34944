"""Readiness of the database: it answers in time, and the tables are there."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ..deadline import Bounded
from .result import ComponentHealth, ComponentStatus

DEADLINE = 2.0
SLOW = 1.0

# Names the tables that every request needs, and reads one row of each at most.
PROBE = """
SELECT EXISTS (SELECT 1 FROM session) AS sessions,
       EXISTS (SELECT 1 FROM process) AS processes,
       EXISTS (SELECT 1 FROM event) AS events
"""


class Database(Protocol):
    """As much of `Persistence` as the check uses."""

    async def fetch_one(self, sql: str, params: Any = (), /) -> Any: ...


def database_check(database: Database) -> Callable[[], Awaitable[ComponentHealth]]:
    """Down without an answer in 2 s, degraded above 1 s. A missing table raises its error."""

    probe = Bounded(lambda: database.fetch_one(PROBE))

    async def check() -> ComponentHealth:
        began = time.monotonic()
        try:
            await probe.within(DEADLINE)
        except TimeoutError:
            return ComponentHealth(
                status=ComponentStatus.DOWN, message=f"no answer within {DEADLINE:g} s"
            )
        if time.monotonic() - began > SLOW:
            return ComponentHealth(status=ComponentStatus.DEGRADED, message="slow to answer")
        return ComponentHealth(status=ComponentStatus.UP)

    return check
