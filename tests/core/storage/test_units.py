"""What a unit can rely on, whatever the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mission_system.core.errors import Unavailable
from mission_system.core.storage.database import Database
from mission_system.core.storage.lease import LeaseHeld
from mission_system.core.storage.persistence import Transaction, Unit


def stream(name: str | None = None) -> Unit[int]:
    async def unit(tx: Transaction) -> int:
        return await tx.insert(
            "INSERT INTO stream (name, last_seq, first_seq) VALUES (?, 0, 1)", (name,)
        )

    return unit


async def names(database: Database) -> list[str]:
    return [row["name"] for row in await database.fetch_all("SELECT name FROM stream ORDER BY id")]


async def test_data_survives_closing_and_opening(make: Callable[[], Database]) -> None:
    database = make()
    await database.open()
    await database.write(stream("kept"))
    await database.close()
    await database.open()
    assert await names(database) == ["kept"]
    await database.close()


async def test_second_server_is_refused_and_the_first_is_unharmed(
    database: Database, make: Callable[[], Database]
) -> None:
    with pytest.raises(LeaseHeld):
        await make().open()
    await database.write(stream("first"))
    assert await names(database) == ["first"]


async def test_closed_database_says_so(make: Callable[[], Database]) -> None:
    database = make()
    with pytest.raises(Unavailable):
        await database.write(stream())
    with pytest.raises(Unavailable):
        await database.fetch_all("SELECT 1")
    await database.open()
    await database.close()
    with pytest.raises(Unavailable):
        await database.write(stream())


async def test_unit_sees_what_it_has_done(database: Database) -> None:
    async def unit(tx: Transaction) -> tuple[Any, ...]:
        first = await tx.insert("INSERT INTO stream (name, last_seq, first_seq) VALUES ('a', 0, 1)")
        rows = [(name, 7, 1) for name in "bcd"]
        await tx.execute_many(
            "INSERT INTO stream (name, last_seq, first_seq) VALUES (?, ?, ?)", rows
        )
        changed = await tx.execute("UPDATE stream SET last_seq = last_seq + ?", (1,))
        none = await tx.execute("UPDATE stream SET last_seq = 0 WHERE name = ?", ("nobody",))
        given = await tx.fetch_one(
            "UPDATE stream SET last_seq = 99 WHERE id = ? RETURNING name, last_seq", (first,)
        )
        await tx.lock("SELECT 1 FROM stream WHERE id = ?", (first,))
        found = await tx.fetch_all("SELECT last_seq FROM stream WHERE last_seq < ?", (50,))
        missing = await tx.fetch_one("SELECT 1 FROM stream WHERE name = ?", ("nobody",))
        removed = await tx.execute("DELETE FROM stream WHERE name IN (?, ?)", ("b", "c"))
        assert given is not None
        assert (given["name"], given[1], list(given.keys())) == ("a", 99, ["name", "last_seq"])
        return changed, none, [row[0] for row in found], missing, removed

    assert await database.write(unit) == (4, 0, [8, 8, 8], None, 2)
    assert await names(database) == ["a", "d"]


async def test_sums_of_integers_are_integers(database: Database) -> None:
    for name in "abc":
        await database.write(stream(name))
    row = await database.fetch_one("SELECT SUM(first_seq) AS s, COUNT(*) AS n FROM stream")
    assert row is not None
    assert (row["s"], row["n"]) == (3, 3)
    assert type(row["s"]) is int


async def test_value_beside_columns_comes_back_as_it_is(database: Database) -> None:
    await database.write(stream("a"))
    row = await database.fetch_one("SELECT s.*, ? AS said FROM stream s", ("it's ?",))
    assert row is not None
    assert row["said"] == "it's ?"


async def test_failing_unit_leaves_nothing_and_harms_no_other(database: Database) -> None:
    async def half_done(tx: Transaction) -> None:
        await stream("half")(tx)
        raise ValueError("changed my mind")

    units = [stream("a"), half_done, stream("b"), stream("c")]
    results = await asyncio.gather(*map(database.write, units), return_exceptions=True)
    assert [type(result) for result in results] == [int, ValueError, int, int]
    assert sorted(await names(database)) == ["a", "b", "c"]


async def test_row_that_breaks_a_rule_fails_its_unit_alone(database: Database) -> None:
    await database.write(stream("taken"))
    with pytest.raises(Exception, match=r"(?i)unique"):
        await database.write(stream("taken"))
    await database.write(stream("free"))
    assert await names(database) == ["taken", "free"]


async def test_after_commit_is_called_for_durable_units_only(database: Database) -> None:
    told: list[str] = []

    async def good(tx: Transaction) -> None:
        await stream("good")(tx)
        tx.after_commit(lambda: told.append("good"))
        tx.after_commit(lambda: 1 / 0)  # type: ignore[arg-type,return-value]

    async def bad(tx: Transaction) -> None:
        tx.after_commit(lambda: told.append("bad"))
        raise ValueError

    await asyncio.gather(database.write(good), database.write(bad), return_exceptions=True)
    assert told == ["good"]
    assert await names(database) == ["good"]


async def test_a_unit_that_is_over_writes_nothing_into_the_next_one(database: Database) -> None:
    kept: list[Transaction] = []

    async def keeping(tx: Transaction) -> None:
        kept.append(tx)

    await database.write(keeping)
    with pytest.raises(RuntimeError, match="a unit is over"):
        await stream("late")(kept[0])
    await database.write(stream("next"))
    assert await names(database) == ["next"]


async def test_unit_goes_on_when_its_caller_is_cancelled(database: Database) -> None:
    for round in range(20):
        task = asyncio.create_task(database.write(stream(f"kept {round}")))
        for _ in range(round % 5 + 1):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await database.write(stream("last"))
    await _until(database, 21)


async def test_cancelled_reads_leave_the_database_usable(database: Database) -> None:
    await database.write(stream("a"))
    for round in range(100):
        task = asyncio.create_task(database.fetch_all("SELECT * FROM stream"))
        for _ in range(round % 7):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.gather(*(names(database) for _ in range(40))) == [["a"]] * 40


async def test_closing_commits_what_was_taken(make: Callable[[], Database]) -> None:
    database = make()
    await database.open()
    tasks = [asyncio.create_task(database.write(stream(f"s{n}"))) for n in range(100)]
    await asyncio.sleep(0)
    await database.close()
    assert len(set(await asyncio.gather(*tasks))) == 100


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match=r"readonly|read-only"):
        await database.fetch_all("DELETE FROM stream")


async def _until(database: Database, count: int) -> None:
    async with asyncio.timeout(20):
        while len(await names(database)) != count:
            await asyncio.sleep(0.01)
