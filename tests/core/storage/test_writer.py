"""The writer: units in groups, each alone in its failure."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from mission_system.core.errors import Unavailable
from mission_system.core.health.checker import HealthChecker
from mission_system.core.health.parts import writer_check
from mission_system.core.storage.persistence import Transaction
from mission_system.core.storage.sqlite import writer as subject
from mission_system.core.storage.sqlite.connection import connect
from mission_system.core.storage.sqlite.database import SqliteDatabase
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
    units, batches = writer.units, writer.batches
    await asyncio.gather(*(writer.write(insert(f"v{n}")) for n in range(500)))
    assert writer.units - units == 500
    assert writer.batches - batches < 50
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


@pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK", "BEGIN IMMEDIATE", "SAVEPOINT unit", "END"])
@pytest.mark.parametrize("swallowed", [False, True])
async def test_unit_that_ends_its_transaction_is_refused_and_harms_no_other(
    writer: Writer, sql: str, swallowed: bool
) -> None:
    async def meddling(tx: Transaction) -> None:
        await tx.insert("INSERT INTO t (x) VALUES (?)", ("lost",))
        try:
            await tx.execute(sql)
        except sqlite3.DatabaseError:
            if not swallowed:
                raise

    units = [insert("a"), meddling, insert("b")]
    results = await asyncio.gather(*map(writer.write, units), return_exceptions=True)
    assert [type(result) for result in results] == [int, RuntimeError, int]
    with pytest.raises(RuntimeError, match="a unit ran BEGIN, COMMIT"):  # alone in its batch
        await writer.write(meddling)
    assert await values(writer) == ["a", "b"]


async def test_failing_writer_lets_nobody_wait_for_ever_and_starts_again(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, gate = threading.Event(), threading.Event()

    def fail(*_: object) -> None:
        arrived.set()
        gate.wait(10)
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_run", fail)
        tasks = [asyncio.create_task(writer.write(insert("taken")))]
        await asyncio.to_thread(arrived.wait, 10)
        tasks += [asyncio.create_task(writer.write(insert(f"queued {n}"))) for n in range(3)]
        await asyncio.sleep(0)
        gate.set()
        async with asyncio.timeout(10):
            results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 4
    assert "no room" in str(results[0])
    assert await writer.write(insert("later")) == 1
    assert await values(writer) == ["later"]


async def test_file_that_cannot_be_opened_any_more_is_unavailable_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = SqliteDatabase(tmp_path)
    await database.open()

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("unable to open")

    async def one(tx: Transaction) -> None:
        await tx.insert("INSERT INTO stream (last_seq, first_seq) VALUES (0, 1)")

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_run", fail)
        with pytest.raises(Unavailable):
            await database.write(one)
        patch.setattr(subject, "connect", fail)
        for _ in range(3):
            with pytest.raises(Unavailable, match="unable to open"):
                await database.write(one)
        result = await HealthChecker("1.0", {"writer": writer_check(database)}).check_readiness()
        assert result.components["writer"].status == "down"
    await database.write(one)
    assert (await writer_check(database)()).status == "up"
    await database.close()


@pytest.mark.parametrize("turns", range(12))
async def test_writer_whose_opening_is_cancelled_leaves_no_thread(
    tmp_path: Path, turns: int
) -> None:
    writer = Writer(tmp_path / "w.sqlite3")
    opening = asyncio.create_task(writer.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    opening.cancel()
    with suppress(asyncio.CancelledError):
        await opening
        await writer.close()
    assert writer._thread is None or not writer._thread.is_alive()
