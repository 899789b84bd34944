"""The writer: units in groups, each alone in its failure."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mission_system.core.errors import Unavailable
from mission_system.core.storage.persistence import Transaction
from mission_system.core.storage.sqlite.connection import connect
from mission_system.core.storage.sqlite.writer import Writer


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    path = tmp_path / "w.sqlite3"
    connection = connect(path)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT UNIQUE)")
    connection.close()
    writer = Writer(path)
    await writer.open()
    yield writer
    await writer.close()


def insert(value: str):
    async def unit(tx: Transaction) -> int:
        return await tx.insert("INSERT INTO t (x) VALUES (?)", (value,))

    return unit


async def values(writer: Writer) -> list[str]:
    async def unit(tx: Transaction) -> list[str]:
        return [row["x"] for row in await tx.fetch_all("SELECT x FROM t ORDER BY id")]

    return await writer.write(unit)


async def test_units_that_wait_together_share_a_commit(writer: Writer) -> None:
    await asyncio.gather(*(writer.write(insert(f"v{n}")) for n in range(500)))
    assert writer.units == 500
    assert writer.batches < 50
    assert await values(writer) == [f"v{n}" for n in range(500)]


async def test_failing_unit_harms_no_other_of_its_group(writer: Writer) -> None:
    async def half_done(tx: Transaction) -> None:
        await tx.insert("INSERT INTO t (x) VALUES (?)", ("half",))
        raise ValueError("changed my mind")

    units = [insert("a"), half_done, insert("b"), insert("a"), insert("c")]
    results = await asyncio.gather(*map(writer.write, units), return_exceptions=True)
    assert [type(result) for result in results] == [
        int,
        ValueError,
        int,
        sqlite3.IntegrityError,
        int,
    ]
    assert await values(writer) == ["a", "b", "c"]


async def test_unit_goes_on_when_its_caller_is_cancelled(writer: Writer) -> None:
    gate = threading.Event()

    async def slow(tx: Transaction) -> None:
        gate.wait(5)
        await tx.insert("INSERT INTO t (x) VALUES (?)", ("kept",))

    task = asyncio.create_task(writer.write(slow))
    await asyncio.sleep(0.05)
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await values(writer) == ["kept"]


async def test_unit_that_awaits_something_else_is_refused_and_rolled_back(writer: Writer) -> None:
    async def foreign(tx: Transaction) -> None:
        await tx.insert("INSERT INTO t (x) VALUES (?)", ("lost",))
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="something other than its transaction"):
        await writer.write(foreign)
    assert await values(writer) == []


async def test_after_commit_is_called_for_durable_units_only(writer: Writer) -> None:
    told: list[str] = []

    async def good(tx: Transaction) -> None:
        tx.after_commit(lambda: told.append("good"))

    async def bad(tx: Transaction) -> None:
        tx.after_commit(lambda: told.append("bad"))
        raise ValueError

    await asyncio.gather(writer.write(good), writer.write(bad), return_exceptions=True)
    assert told == ["good"]


async def test_failing_after_commit_callback_harms_neither_unit_nor_writer(writer: Writer) -> None:
    async def unit(tx: Transaction) -> str:
        tx.after_commit(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
        return "done"

    assert await writer.write(unit) == "done"
    assert await values(writer) == []


async def test_batch_waits_for_a_lock_held_elsewhere(writer: Writer, tmp_path: Path) -> None:
    other = connect(tmp_path / "w.sqlite3")
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(writer.write(insert("patient")))
    done, _ = await asyncio.wait([task], timeout=0.3)
    assert not done
    other.execute("COMMIT")
    other.close()
    await task
    assert await values(writer) == ["patient"]


async def test_closing_commits_what_is_queued_and_refuses_the_rest(writer: Writer) -> None:
    tasks = [asyncio.create_task(writer.write(insert(f"v{n}"))) for n in range(100)]
    await asyncio.sleep(0)
    await writer.close()
    assert len(await asyncio.gather(*tasks)) == 100
    with pytest.raises(Unavailable):
        await writer.write(insert("late"))
