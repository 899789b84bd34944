import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from mission_system.core import deadline
from mission_system.core.health import database as subject
from mission_system.core.health.checker import HealthChecker
from mission_system.core.health.database import database_check
from mission_system.core.storage.sqlite.database import SqliteDatabase


class Slow:
    """Answers after some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def fetch_one(self, sql: str, params: Any = (), /) -> Any:
        await asyncio.sleep(self.seconds)

    async def write(self, unit: Any, /) -> Any:
        pass


async def test_a_migrated_database_is_up(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path)
    await database.open()
    try:
        health = await database_check(database)()
    finally:
        await database.close()
    assert health.status == "up"


async def test_a_database_without_the_schema_is_down(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path)
    await database.open()
    try:

        async def drop(tx: Any) -> None:
            await tx.execute("DROP TABLE event")

        await database.write(drop)
        result = await HealthChecker(
            "1.0", {"database": database_check(database)}
        ).check_readiness()
    finally:
        await database.close()
    assert result.components["database"].status == "down"


async def test_a_closed_database_is_down(tmp_path: Path) -> None:
    checks = {"database": database_check(SqliteDatabase(tmp_path))}
    result = await HealthChecker("1.0", checks).check_readiness()
    assert result.status == "unhealthy"
    assert result.components["database"].message == "the database is closed"


async def test_no_answer_within_the_deadline_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "DEADLINE", 0.05)
    began = time.monotonic()
    health = await database_check(Slow(60))()
    assert health.status == "down"
    assert time.monotonic() - began < 5


async def test_a_slow_answer_is_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "SLOW", 0.01)
    assert (await database_check(Slow(0.05))()).status == "degraded"


def test_the_limits_are_those_of_the_contract() -> None:
    assert (subject.DEADLINE, subject.SLOW) == (2.0, 1.0)


async def test_an_answer_that_never_comes_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A driver that takes no notice of a cancellation."""
    monkeypatch.setattr(subject, "DEADLINE", 0.05)
    monkeypatch.setattr(deadline, "GRACE_SECONDS", 0.05)

    class Stubborn(Slow):
        asked = 0

        async def fetch_one(self, sql: str, params: Any = (), /) -> Any:
            self.asked += 1
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()

    database = Stubborn(0)
    check = database_check(database)
    async with asyncio.timeout(30):
        assert [(await check()).status for _ in range(3)] == ["down"] * 3
    assert database.asked == 1
