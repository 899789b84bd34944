"""The Tortoise engine for SQLite: cancelled anywhere, it works on, with nothing half written."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import subprocess
import sys
import types
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
)
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tortoise import fields
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.connection import get_connection
from tortoise.context import TortoiseContext
from tortoise.exceptions import (
    DBConnectionError,
    IntegrityError,
    OperationalError,
    TransactionManagementError,
)
from tortoise.models import Model
from tortoise.transactions import in_transaction

from mission_system.core.storage.sqlite.pragmas import open_database

ENGINE = "mission_system.core.storage.sqlite"
Step = Callable[[], Coroutine[Any, Any, object]]


class Author(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=50, unique=True)
    books: fields.ReverseRelation[Book]
    songs: fields.ReverseRelation[Song]


class Book(Model):
    id = fields.IntField(primary_key=True)
    author: fields.ForeignKeyRelation[Author] = fields.ForeignKeyField(
        "models.Author", related_name="books"
    )


class Song(Model):
    id = fields.IntField(primary_key=True)
    author: fields.ForeignKeyRelation[Author] = fields.ForeignKeyField(
        "models.Author", related_name="songs"
    )


def config(path: Path | str, **pragmas: Any) -> dict[str, Any]:
    credentials = {"file_path": str(path), **pragmas}
    return {
        "connections": {"default": {"engine": ENGINE, "credentials": credentials}},
        "apps": {"models": {"models": [__name__], "default_connection": "default"}},
    }


@asynccontextmanager
async def database(path: Path | str, **pragmas: Any) -> AsyncIterator[BaseDBAsyncClient]:
    async with TortoiseContext() as context:
        await context.init(config=config(path, **pragmas))
        await context.generate_schemas()
        yield context.db()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.sqlite3"


@types.coroutine
def cancelling(work: Coroutine[Any, Any, object], points: Collection[int]) -> Iterator[Any]:
    """Awaits `work`; cancels the awaiting task at these suspensions of it, counted from 1."""
    thrown: BaseException | None = None
    for suspension in itertools.count(1):
        try:
            waited_for = work.throw(thrown) if thrown else work.send(None)
        except StopIteration:
            return
        if suspension in points:
            this_task().cancel()
        thrown = None
        try:
            yield waited_for
        except BaseException as error:
            thrown = error


def this_task() -> asyncio.Task[object]:
    return cast("asyncio.Task[object]", asyncio.current_task())


async def cancelled(work: Coroutine[Any, Any, object], points: Collection[int]) -> bool:
    """Run `work` in this very task, cancelled at those suspensions; whether that ended it."""
    try:
        async with asyncio.timeout(10):
            await cast("Awaitable[None]", cancelling(work, points))
    except asyncio.CancelledError:
        return True
    finally:
        while this_task().uncancel():
            continue
    return False


async def sweep(attempt: Step, verify: Step) -> int:
    """Cancel `attempt` at each of its suspensions in turn, alone and with each of the next two."""
    for point in range(1, 100):
        reached = False
        for points in ({point}, {point, point + 1}, {point, point + 1, point + 2}):
            reached |= await cancelled(attempt(), points)
            async with asyncio.timeout(5):
                await verify()
        if not reached:
            return point - 1
    raise AssertionError("the attempt never came to its end")


async def names() -> list[str]:
    return [author.name for author in await Author.all().order_by("id")]


async def assert_free(client: BaseDBAsyncClient, path: Path) -> None:
    """Nothing is held: not the client's turn, nor the task's variable, nor SQLite's lock."""
    assert get_connection("default") is client
    other = open_database(str(path), {"busy_timeout": 0})
    other.execute("BEGIN IMMEDIATE")
    other.close()
    async with in_transaction():
        await Author.filter(id=0).delete()


# Defect 1: cancelled while a transaction begins


async def test_cancelled_begin_gives_everything_back(path: Path) -> None:
    async with database(path) as client:

        async def attempt() -> None:
            async with in_transaction():
                pass

        points = await sweep(attempt, lambda: assert_free(client, path))
        assert points >= 2  # BEGIN and COMMIT


async def test_cancelled_first_use_leaves_the_engine_able_to_open(path: Path) -> None:
    async with TortoiseContext() as context:
        await context.init(config=config(path))
        client = context.db()

        async def attempt() -> None:
            await client.close()
            async with in_transaction() as transaction:
                await transaction.execute_query("SELECT 1")

        async def verify() -> None:
            rows = await client.execute_query_dict("PRAGMA foreign_keys")
            assert rows == [{"foreign_keys": 1}]

        assert await sweep(attempt, verify) >= 4  # close, open, BEGIN, SELECT, COMMIT


# Defect 2: cancelled in many statements


async def test_cancelled_bulk_create_writes_all_or_nothing(path: Path) -> None:
    async with database(path) as client:
        numbers = itertools.count()

        async def attempt() -> None:
            await Author.bulk_create([Author(name=f"{next(numbers)}") for _ in range(10)])

        async def verify() -> None:
            await assert_free(client, path)
            assert await Author.all().count() % 10 == 0

        assert await sweep(attempt, verify) >= 3  # BEGIN, the rows, COMMIT


# Defect 3: the transaction's client in other tasks


async def test_task_started_in_a_transaction_cannot_use_it_after_its_end(path: Path) -> None:
    async with database(path):
        ended = asyncio.Event()

        async def write_later() -> None:
            await ended.wait()
            await Author.create(name="stray")

        async with in_transaction():
            task = asyncio.create_task(write_later())
        async with in_transaction():  # which the stray write must not join
            ended.set()
            with pytest.raises(TransactionManagementError, match=r"start a task .* outside"):
                await task
        assert await Author.all().count() == 0


async def test_task_started_in_a_transaction_cannot_use_it_meanwhile(path: Path) -> None:
    async with database(path):
        async with in_transaction():
            await Author.create(name="owner")
            with pytest.raises(TransactionManagementError, match="belongs to task") as caught:
                await asyncio.create_task(Author.create(name="stranger"), name="stranger-task")
            with pytest.raises(TransactionManagementError, match="belongs to task"):
                await asyncio.create_task(open_nested())
        assert "stranger-task" in str(caught.value)
        assert "outside the block" in str(caught.value)
        assert [author.name for author in await Author.all()] == ["owner"]


async def open_nested() -> None:
    async with in_transaction():
        pass


async def test_finished_client_is_refused_in_its_own_task_too(path: Path) -> None:
    async with database(path):
        async with in_transaction() as outer:
            async with in_transaction() as inner:
                pass
            with pytest.raises(TransactionManagementError, match="has ended"):
                await Author.create(name="a", using_db=inner)
        for use in (
            lambda: outer.execute_query("SELECT 1"),
            lambda: outer.execute_query_dict("SELECT 1"),
            lambda: outer.execute_insert("INSERT INTO author (name) VALUES (?)", ["a"]),
            lambda: outer.execute_many("INSERT INTO author (name) VALUES (?)", [["a"]]),
            lambda: outer.execute_script("DELETE FROM author"),
            outer.commit,
            outer.rollback,
            lambda: outer._in_transaction().__aenter__(),
        ):
            with pytest.raises(TransactionManagementError, match="has ended"):
                await cast(Step, use)()
        assert await Author.all().count() == 0


async def test_relations_are_prefetched_inside_a_transaction(path: Path) -> None:
    async with database(path):
        author = await Author.create(name="a")
        async with in_transaction():
            await Book.create(author=author)
            await Song.create(author=author)
            [found] = await Author.all().prefetch_related("books", "songs")
            assert (len(found.books), len(found.songs)) == (1, 1)


# Defect 4: several processes

COUNT = """
import asyncio, sys
from tortoise import fields
from tortoise.context import TortoiseContext
from tortoise.models import Model
from tortoise.transactions import in_transaction

class Counter(Model):
    id = fields.IntField(primary_key=True)
    value = fields.IntField(default=0)

async def main(engine, path, rounds):
    async with TortoiseContext() as context:
        await context.init(config={
            "connections": {"default": {"engine": engine, "credentials": {"file_path": path}}},
            "apps": {"models": {"models": ["__main__"], "default_connection": "default"}},
        })
        await context.generate_schemas()
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(rounds):
            async with in_transaction():
                counter, _ = await Counter.get_or_create(id=1)
                counter.value += 1
                await counter.save()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def test_processes_that_read_and_then_write_never_find_the_database_locked(path: Path) -> None:
    command = [sys.executable, "-c", COUNT, ENGINE, str(path), "100"]
    workers = [
        subprocess.Popen(
            command,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    errors = [worker.communicate()[1] for worker in workers]
    assert errors == ["", "", ""]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT value FROM counter").fetchall() == [(300,)]
    connection.close()


# Cancelled anywhere else


async def test_transaction_cancelled_anywhere_is_whole_or_absent(path: Path) -> None:
    async with database(path) as client:
        numbers = itertools.count()

        async def attempt() -> None:
            async with in_transaction():
                author = await Author.create(name=f"{next(numbers)}")
                await Book.create(author=author)
                await Song.create(author=author)

        async def verify() -> None:
            await assert_free(client, path)
            counts = {
                await Author.all().count(),
                await Book.all().count(),
                await Song.all().count(),
            }
            assert len(counts) == 1

        assert await sweep(attempt, verify) >= 5
        assert await Author.all().count() >= 1  # cancelled in COMMIT: committed, then cancelled


@pytest.mark.parametrize("fail", [False, True], ids=["commit", "rollback"])
async def test_outcome_is_settled_before_a_cancellation_goes_on(path: Path, fail: bool) -> None:
    async with database(path) as client:

        async def attempt() -> None:
            async with in_transaction():
                await Author.create(name="a")
                if fail:
                    raise LookupError

        assert await cancelled(attempt(), {3, 4, 5})  # BEGIN, INSERT, then COMMIT or ROLLBACK
        other = open_database(str(path), {"busy_timeout": 0})
        assert len(other.execute("SELECT * FROM author").fetchall()) == (0 if fail else 1)
        other.execute("BEGIN IMMEDIATE")  # at once: the lock is free already
        other.close()
        await assert_free(client, path)


async def test_cancelled_statement_has_ended_when_the_cancellation_goes_on(path: Path) -> None:
    slow = (
        "INSERT INTO author (name) WITH RECURSIVE n(i) AS"
        " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT 'name' || i FROM n"
    )
    async with database(path) as client:
        task = asyncio.create_task(client.execute_query(slow))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        other = open_database(str(path))
        assert other.execute("SELECT count(*) FROM author").fetchone()[0] == 100_000
        other.close()
        assert (await client.execute_query("UPDATE author SET name = 'x' WHERE id = 1"))[0] == 1


async def test_cancelled_waiter_leaves_at_once_and_writes_nothing(path: Path) -> None:
    async with database(path) as client:
        outside = asyncio.Event()
        waiting = asyncio.create_task(create_after(outside))
        async with in_transaction():
            outside.set()
            await asyncio.sleep(0.01)  # the waiter queues for its turn
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert await Author.all().count() == 0
        await assert_free(client, path)


async def create_after(event: asyncio.Event) -> None:
    await event.wait()
    await Author.create(name="waiter")


@pytest.mark.parametrize("ticks", range(0, 60, 6))
async def test_callers_cancelled_after_any_number_of_ticks_harm_nobody(
    path: Path, ticks: int
) -> None:
    async with database(path) as client:

        async def pair(name: str) -> None:
            async with in_transaction():
                author = await Author.create(name=name)
                async with in_transaction():
                    await Book.create(author=author)

        async def bulk(name: str) -> None:
            await Author.bulk_create([Author(name=f"{name}/{n}") for n in range(5)])

        async def get_or_create(name: str) -> None:
            await Author.get_or_create(name=name)

        for later in range(6):
            tasks = [
                asyncio.create_task(work(f"{work.__name__} {later} {number}"))
                for number in range(2)
                for work in (pair, bulk, get_or_create)
            ]
            survivor = asyncio.create_task(pair(f"survivor {later}"))
            for _ in range(ticks + later):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            async with asyncio.timeout(5):
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
                await survivor
                await assert_free(client, path)
            assert {type(outcome) for outcome in outcomes} <= {type(None), asyncio.CancelledError}
            paired = await Author.filter(name__startswith="pair").count()
            survivors = await Author.filter(name__startswith="survivor").count()
            assert survivors == later + 1
            assert paired + survivors == await Book.all().count()
            assert await Author.filter(name__startswith="bulk").count() % 5 == 0


async def test_timeout_inside_a_transaction_rolls_it_back(path: Path) -> None:
    async with database(path) as client:

        async def hang() -> None:
            async with asyncio.timeout(0.02), in_transaction():
                await Author.create(name="a")
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await hang()
        assert await Author.all().count() == 0
        await assert_free(client, path)


def test_loop_that_stops_in_mid_transaction_leaves_nothing_half_written(path: Path) -> None:
    async def write(started: asyncio.Event) -> None:
        for number in itertools.count():
            async with in_transaction():
                author = await Author.create(name=f"{number}")
                started.set()
                await Book.create(author=author)

    async def main(ticks: int) -> None:
        path.unlink(missing_ok=True)
        context = TortoiseContext()
        with context:
            await context.init(config=config(path))
            await context.generate_schemas()
            started = asyncio.Event()
            task = asyncio.create_task(write(started))
            await started.wait()
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.add_done_callback(lambda _: clients.append(context.db()))

    for ticks in range(12):
        clients: list[BaseDBAsyncClient] = []
        asyncio.run(main(ticks))  # cancels every task that is left, the engine's own among them
        other = open_database(str(path), {"busy_timeout": 0})
        other.execute("BEGIN IMMEDIATE")
        [(authors, books)] = other.execute(
            "SELECT (SELECT count(*) FROM author), (SELECT count(*) FROM book)"
        ).fetchall()
        other.close()
        assert authors == books
        asyncio.run(clients[0].close())


# Nested transactions


@pytest.mark.parametrize("error", [LookupError, TransactionManagementError])
async def test_nested_transaction_rolls_back_alone(path: Path, error: type[Exception]) -> None:
    async def fail() -> None:
        async with in_transaction() as inner:
            await Author.create(name="inner")
            await Author.create(name="inner too", using_db=inner)
            raise error("of the application")

    async with database(path):
        async with in_transaction():
            await Author.create(name="outer")
            with pytest.raises(error, match="application"):
                await fail()
            async with in_transaction():
                await Author.create(name="kept")
        assert await names() == ["outer", "kept"]


async def test_cancelled_nested_transaction_leaves_the_outer_one_intact(path: Path) -> None:
    async with database(path) as client:
        async with in_transaction() as outer:

            async def attempt() -> None:
                async with in_transaction():
                    author = await Author.create(name="a")
                    await Book.create(author=author)
                    await author.delete()

            async def verify() -> None:
                assert get_connection("default") is outer
                assert await Author.all().count() == await Book.all().count() == 0
                async with in_transaction():
                    await Author.filter(id=0).delete()

            await Song.create(author=await Author.create(id=0, name="owner"))
            await Author.filter(id=0).delete()
            assert await sweep(attempt, verify) >= 5  # SAVEPOINT, three statements, RELEASE
            await Author.create(name="outer")
        assert await names() == ["outer"]
        await assert_free(client, path)


async def test_nested_client_ends_only_its_own_part(path: Path) -> None:
    async def committed_inside_a_failure() -> None:
        async with in_transaction():
            async with in_transaction() as inner:
                await Author.create(name="lost")
                await inner.commit()
            raise LookupError

    async with database(path):
        async with in_transaction():
            await Author.create(name="outer")
            async with in_transaction() as inner:
                await Author.create(name="undone")
                await inner.rollback()
            async with in_transaction() as inner:
                await Author.create(name="kept")
                await inner.commit()
        with pytest.raises(LookupError):
            await committed_inside_a_failure()
        assert await names() == ["outer", "kept"]


# What ends a transaction


@pytest.mark.parametrize("error", [LookupError, TransactionManagementError])
async def test_any_error_in_the_block_rolls_back(path: Path, error: type[Exception]) -> None:
    async def fail() -> None:
        async with in_transaction():
            await Author.create(name="a")
            raise error("of the application")

    async with database(path) as client:
        with pytest.raises(error, match="application"):
            await fail()
        assert await names() == []
        await assert_free(client, path)


async def test_commit_that_fails_rolls_back_and_frees_the_lock(path: Path) -> None:
    async with database(path) as client:
        await client.execute_script(
            "CREATE TABLE late (author_id INT REFERENCES author (id) DEFERRABLE INITIALLY DEFERRED)"
        )
        with pytest.raises(IntegrityError):
            async with in_transaction() as transaction:
                await transaction.execute_insert("INSERT INTO late VALUES (?)", [99])
        await assert_free(client, path)
        assert await client.execute_query_dict("SELECT * FROM late") == []


async def test_script_inside_a_transaction_does_not_commit_it(path: Path) -> None:
    script = """
        CREATE TABLE a (text TEXT DEFAULT 'x;y'); -- one; two
        CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; INSERT INTO a VALUES (';'); END;
        INSERT INTO a VALUES ('z')
    """

    async def run_and_fail() -> None:
        async with in_transaction() as transaction:
            await transaction.execute_script(script)
            [row] = await transaction.execute_query_dict("SELECT text FROM a")
            assert row == {"text": ";"}
            raise LookupError

    async with database(path) as client:
        with pytest.raises(LookupError):
            await run_and_fail()
        with pytest.raises(OperationalError, match="no such table"):
            await client.execute_query("SELECT * FROM a")


async def test_transaction_that_sqlite_ended_takes_no_more_statements(path: Path) -> None:
    async def go_on_after_the_end() -> None:
        async with in_transaction() as transaction:
            await Author.create(name="a")
            with pytest.raises(IntegrityError):
                await transaction.execute_query(
                    "INSERT OR ROLLBACK INTO author (name) VALUES (?)", ["a"]
                )
            await Author.create(name="would be committed alone")

    async with database(path) as client:
        with pytest.raises(TransactionManagementError, match=r"ended .* by itself"):
            await go_on_after_the_end()
        assert await names() == []
        await assert_free(client, path)


async def test_begin_in_sql_is_undone_and_reported(path: Path) -> None:
    async with database(path) as client:
        with pytest.raises(TransactionManagementError, match="in place of BEGIN"):
            await client.execute_query("BEGIN")
        with pytest.raises(OperationalError, match="no such table"):
            await client.execute_script(
                "BEGIN; INSERT INTO author (name) VALUES ('a'); DROP TABLE x"
            )
        assert await Author.all().count() == 0
        await assert_free(client, path)


async def test_plain_client_inside_its_own_transaction_raises_and_does_not_hang(path: Path) -> None:
    async with database(path) as client, asyncio.timeout(5):
        with pytest.raises(TransactionManagementError, match="in_transaction"):
            async with in_transaction():
                await client.execute_query("SELECT 1")
        with pytest.raises(TransactionManagementError, match="in_transaction"):
            async with in_transaction():
                await client.close()
        with pytest.raises(TransactionManagementError, match="cannot be closed"):
            async with in_transaction() as transaction:
                await transaction.close()
        await assert_free(client, path)


async def first(generator: AsyncGenerator[int, None]) -> int:
    return await anext(generator)


async def test_generator_closed_by_another_task_gives_its_transaction_back(path: Path) -> None:
    async def rows() -> AsyncGenerator[int, None]:
        async with in_transaction():
            await Author.create(name="a")
            yield 1

    async with database(path) as client:
        generator = rows()
        await asyncio.create_task(first(generator))
        await asyncio.create_task(generator.aclose())
        assert await Author.all().count() == 0
        await assert_free(client, path)


# Opening and closing


async def test_close_waits_for_the_transaction_and_the_engine_opens_again(path: Path) -> None:
    async with database(path) as client:
        inside, leave = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            async with in_transaction():
                await Author.create(name="a")
                inside.set()
                await leave.wait()

        writing = asyncio.create_task(write())
        await inside.wait()
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        counting = asyncio.create_task(names())
        await asyncio.sleep(0.01)
        assert not closing.done()
        leave.set()
        await asyncio.gather(writing, closing)
        assert await counting == ["a"]


async def test_file_that_cannot_be_opened_is_named_and_does_not_block_the_next_use(
    tmp_path: Path,
) -> None:
    path = tmp_path / "missing" / "test.sqlite3"
    async with TortoiseContext() as context, asyncio.timeout(5):
        await context.init(config=config(path))
        for _ in range(2):
            with pytest.raises(DBConnectionError, match=r"missing/test\.sqlite3.*folder exists"):
                await context.db().execute_query("SELECT 1")
            with pytest.raises(DBConnectionError):
                await open_nested()
        path.parent.mkdir()
        assert await context.db().execute_query_dict("SELECT 1 AS one") == [{"one": 1}]


async def test_two_contexts_in_one_process_are_independent(tmp_path: Path) -> None:
    async with database(tmp_path / "a.sqlite3") as first:
        async with in_transaction():
            await Author.create(name="a")
            async with database(tmp_path / "b.sqlite3") as second, asyncio.timeout(5):
                assert second is not first
                await Author.create(name="b")
                async with in_transaction():
                    await Author.create(name="c")
                assert await Author.all().count() == 2
            assert await Author.all().count() == 1
        assert get_connection("default") is first


async def test_pragmas_hold_on_the_connection_and_credentials_change_them(path: Path) -> None:
    async with database(path, cache_size=-1000, busy_timeout=50) as client:
        assert isinstance(client, SqliteClient)
        expected = {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "temp_store": 2}
        expected |= {"cache_size": -1000, "busy_timeout": 50}
        for name, value in expected.items():
            [row] = await client.execute_query_dict(f"PRAGMA {name}")
            assert list(row.values()) == [value], name


async def test_lock_held_elsewhere_is_reported_and_waited_for_again(path: Path) -> None:
    async with database(path, busy_timeout=50) as client:
        other = open_database(str(path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"):
            await open_nested()
        other.close()
        await assert_free(client, path)


# What Tortoise does with transactions


async def test_get_or_create_and_bulk_create_work_inside_and_outside(path: Path) -> None:
    async def create_and_fail() -> None:
        async with in_transaction():
            await Author.get_or_create(name="b")
            await Author.bulk_create([Author(name="c"), Author(name="d")], batch_size=1)
            assert await names() == ["a", "b", "c", "d"]
            raise LookupError

    async with database(path):
        _, created = await Author.get_or_create(name="a")
        _, again = await Author.get_or_create(name="a")
        assert (created, again) == (True, False)
        with pytest.raises(LookupError):
            await create_and_fail()
        with pytest.raises(IntegrityError):
            await Author.bulk_create([Author(name="e"), Author(name="a")])
        assert await names() == ["a"]
