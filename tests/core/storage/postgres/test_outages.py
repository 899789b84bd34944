"""The database goes away and comes back: callers are told, and nothing has to be started again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from postgresql import Databases, Server
from structlog.testing import capture_logs

from mission_system.core.errors import Unavailable
from mission_system.core.events.event import NewEvent
from mission_system.core.events.log import EventLog
from mission_system.core.storage.lease import DatabaseHeld
from mission_system.core.storage.persistence import DatabaseUnusable, Transaction
from mission_system.core.storage.postgres.connection import shown
from mission_system.core.storage.postgres.database import PostgresDatabase

BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid()"
)


async def one(tx: Transaction) -> int:
    return await tx.insert("INSERT INTO stream (name, last_seq, first_seq) VALUES (NULL, 0, 1)")


async def count(database: PostgresDatabase) -> int:
    row = await database.fetch_one("SELECT COUNT(*) FROM stream")
    assert row is not None
    found: int = row[0]
    return found


async def works_again(database: PostgresDatabase) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await database.write(one)
                await count(database)
                return
            except Unavailable:
                await asyncio.sleep(0.05)


@pytest.fixture
async def url(postgres: Databases) -> AsyncIterator[str]:
    url = postgres.new()
    yield url
    postgres.drop(url)


@pytest.fixture
async def database(url: str, tmp_path: Path) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(url, tmp_path / "data")
    await database.open()
    yield database
    await database.close()


async def test_ended_sessions_are_replaced_without_a_caller_noticing(
    database: PostgresDatabase, url: str
) -> None:
    await asyncio.gather(*(database.write(one) for _ in range(20)))
    killer = await asyncpg.connect(url)
    for _ in range(3):
        for (pid,) in await killer.fetch(BACKENDS):
            await killer.execute("SELECT pg_terminate_backend($1)", pid)
        await asyncio.gather(*(database.write(one) for _ in range(20)))
        assert await count(database) % 20 == 0
    await killer.close()
    assert await count(database) == 80


async def test_unit_whose_connection_breaks_before_its_commit_runs_again(
    database: PostgresDatabase, url: str
) -> None:
    killer = await asyncpg.connect(url)
    runs = 0

    async def unit(tx: Transaction) -> int:
        nonlocal runs
        runs += 1
        await one(tx)
        if runs == 1:
            me = await tx.fetch_one("SELECT pg_backend_pid()")
            assert me is not None
            await killer.execute("SELECT pg_terminate_backend($1)", me[0])
        return await one(tx)

    await database.write(unit)
    await killer.close()
    assert (runs, await count(database)) == (2, 2)


async def test_while_the_server_is_away_callers_are_told_and_then_all_works_again(
    own_server: Server, tmp_path: Path
) -> None:
    database = PostgresDatabase(own_server.url, tmp_path / "data")
    await database.open()
    await database.write(one)
    own_server.stop()
    with capture_logs() as logs:
        for use in (lambda: database.write(one), lambda: database.fetch_all("SELECT 1")):
            with pytest.raises(Unavailable) as told:
                await use()
            assert not re.search("[0-9/@]|postgres|socket", told.value.message)
    assert shown(own_server.url) in [entry.get("database") for entry in logs]
    own_server.start()
    await works_again(database)
    own_server.restart()
    await works_again(database)
    with pytest.raises(DatabaseHeld):  # the lease was taken again
        await PostgresDatabase(own_server.url, tmp_path / "other").open()
    await database.close()


async def test_server_whose_data_another_has_taken_over_never_writes_again(
    database: PostgresDatabase, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = database._database_lease
    monkeypatch.setattr("mission_system.core.storage.postgres.lease.PATIENCE_SECONDS", 0.2)
    holder = await asyncpg.connect(url, server_settings={"application_name": "mission 1@else"})
    taking = asyncio.create_task(
        holder.execute("SELECT pg_advisory_lock(1297304645, hashtext(current_schema()))")
    )
    killer = await asyncpg.connect(url)
    with capture_logs() as logs:
        async with asyncio.timeout(30):
            while not taking.done():
                await killer.execute("SELECT pg_terminate_backend($1)", lease._backend)
                await asyncio.wait([taking], timeout=0.1)
            while database.lost is None:
                await asyncio.sleep(0.02)
    [taken] = [entry["error"] for entry in logs if entry["event"] == "database.taken_over"]
    assert "mission 1@else" in taken
    for use in (database.write(one), database.fetch_one("SELECT 1")):
        with pytest.raises(Unavailable, match="lost its data") as told:
            await use
        assert "mission 1@else" not in told.value.message
    await killer.close()
    await holder.close()


async def test_server_that_loses_a_connection_keeps_its_data_from_those_that_stand_by(
    database: PostgresDatabase, url: str, tmp_path: Path
) -> None:
    heir = PostgresDatabase(url, tmp_path / "heir")
    with pytest.raises(DatabaseHeld):
        await heir.open()
    standing_by = asyncio.create_task(heir.open())
    killer = await asyncpg.connect(url)
    lease = database._database_lease
    async with asyncio.timeout(60):
        for _ in range(10):
            await killer.execute("SELECT pg_terminate_backend($1)", lost := lease._backend)
            while lease._backend == lost:
                assert database.lost is None
                await asyncio.sleep(0.02)
    await works_again(database)
    await killer.close()
    with pytest.raises(DatabaseHeld):
        await standing_by
    assert database.lost is None
    await database.close()
    await heir.open()
    await heir.close()


async def test_late_server_is_told_where_the_first_listens(
    database: PostgresDatabase, url: str, tmp_path: Path
) -> None:
    await database.announce("http://127.0.0.1:8123")
    with pytest.raises(DatabaseHeld, match=r"mission \d+@.* http://127\.0\.0\.1:8123"):
        await PostgresDatabase(url, tmp_path / "late").open()


async def test_wrong_address_is_named_without_its_password(tmp_path: Path) -> None:
    database = PostgresDatabase("postgres://ann:secret@127.0.0.1:1/nowhere", tmp_path)
    with pytest.raises(DatabaseUnusable, match=r"127\.0\.0\.1:1/nowhere") as error:
        await database.open()
    assert "secret" not in error.value.message


async def test_sixteen_writers_leave_a_stream_without_gap_or_double(
    database: PostgresDatabase,
) -> None:
    log = EventLog(database, lambda *_: None)
    stream = await database.write(log.open_stream)
    seen: list[int] = []

    async def write(writer: int) -> None:
        for number in range(25):

            async def unit(tx: Transaction, number: int = number) -> None:
                events = [NewEvent("t.x", {"writer": writer, "number": number})]
                await log.append(tx, stream, "ann", events, 1)
                if number % 5 == 4:
                    raise ValueError("rolled back")

            await asyncio.gather(database.write(unit), return_exceptions=True)
            # What a reader has seen, nothing may come before.
            rows = await log.read(stream, 0)
            seqs = [event.seq for event in rows]
            assert seqs == list(range(1, len(seqs) + 1))
            seen.append(len(seqs))

    await asyncio.gather(*(write(writer) for writer in range(16)))
    assert (await log.bounds(stream)) == (1, 320)
    events = await log.read(stream, 0, 500)
    assert [event.seq for event in events] == list(range(1, 321))
    told = [(event.payload["writer"], event.payload["number"]) for event in events]
    assert len(set(told)) == 320
    assert max(seen) == 320
