"""Ten thousand processes that wait for an answer cost a server next to nothing.

How long a start takes beside them is a matter of the machine, so what is held here is what a start
reads; `bench/waiting.py` reports times.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from databases import ChosenDatabases

from mission_system import Caller, Envelope, Mission, OrchestratorSpec, Settings, ToolCatalog
from mission_system.core.capabilities import CapabilityRegistry
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.storage.persistence import Params, Persistence, Row, Unit
from mission_system.core.tower.interrupt_store import close_interrupts, open_ids, open_questions

if TYPE_CHECKING:
    from .conftest import Cli, Server

T = TypeVar("T")
pytestmark = pytest.mark.timeout(600)  # most of it makes the processes

WAITING = 10_000
USERS = 100
MOST_MIB = 20
READ_AT_START = 10  # rows
# Tables that are read whole: as many rows as there are tools, or calls of the last moments.
SMALL = re.compile(r"\b(breaker|tool_call)\b")
ASKS = """
from mission_system import OrchestratorSpec, hookimpl

async def asks(mission):
    return await mission.clarify("Which topic?")

@hookimpl
def register_orchestrators(context):
    return [OrchestratorSpec("asks", asks)]
"""
QUESTION = "{ interrupts(first: 1) { nodes { interruptId } } }"
ANSWER = """
mutation ($id: ID!) { answerClarification(input: {interruptId: $id, answer: "billing"}) {
  ... on AnswerPayload { process { state reply } } } }
"""


async def asks(mission: Mission) -> str:
    return await mission.clarify("Which topic?")


def node_on(data: Path, persistence: Persistence | None = None) -> Node:
    settings = Settings(data=data)
    runtime = create_mission_runtime(ToolCatalog(), persistence, settings, use_mock=True)
    return Node(runtime, CapabilityRegistry((OrchestratorSpec("asks", asks),), "asks"))


async def ask_everybody(data: Path) -> None:
    async with node_on(data) as node:
        at_once = asyncio.Semaphore(256)

        async def ask(number: int) -> None:
            async with at_once:
                envelope = Envelope(caller=Caller(f"user{number % USERS}"), message="hi")
                asked = await node.tower.submit_request(envelope, wait=300)
                assert asked.process is not None
                assert asked.process.interrupts

        await asyncio.gather(*(ask(number) for number in range(WAITING)))


@pytest.fixture(scope="module")
def crowded(module_cli: Cli) -> Cli:
    """A data folder on which everybody has been asked something."""
    module_cli.install("asks", ASKS)
    asyncio.run(ask_everybody(module_cli.data))
    return module_cli


class Reading:
    """A storage that remembers what was read from it and how many rows came."""

    def __init__(self, storage: Persistence) -> None:
        self._storage = storage
        self.reads: list[tuple[str, Params]] = []
        self.rows = 0
        self.units = 0

    async def open(self) -> None:
        await self._storage.open()

    async def close(self) -> None:
        await self._storage.close()

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        self.reads.append((sql, params))
        row = await self._storage.fetch_one(sql, params)
        self.rows += row is not None
        return row

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        self.reads.append((sql, params))
        rows = await self._storage.fetch_all(sql, params)
        self.rows += len(rows)
        return rows

    async def write(self, unit: Unit[T]) -> T:
        self.units += 1
        return await self._storage.write(unit)

    async def units_ended(self) -> None:
        await self._storage.units_ended()


def resident(server: Server) -> float:
    """MiB of memory that a server holds."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def test_a_start_reads_nothing_of_the_processes_that_wait(
    crowded: Cli, databases: ChosenDatabases
) -> None:
    storage = Reading(databases.make(Settings(data=crowded.data)))

    async def start() -> None:
        async with node_on(crowded.data, storage):
            async with asyncio.timeout(60):
                while not any("MIN(expires_at)" in sql for sql, _ in storage.reads):
                    await asyncio.sleep(0.01)  # the last thing that it looks for

    asyncio.run(start())
    assert storage.rows <= READ_AT_START
    assert storage.units == 1  # the server's own stream, which is looked up where it is made
    assert databases.rows(crowded.data, "SELECT count(*) FROM process")[0][0] == WAITING
    assert storage.reads
    for sql, params in storage.reads:
        scans = databases.scans(crowded.data, sql, params)
        assert [step for step in scans if not SMALL.search(step)] == []


class Explaining:
    """A transaction that does nothing but ask how each statement would be carried out."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.steps: list[str] = []

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        found = self._database.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        self.steps += [step[3] for step in found]
        return []

    async def execute(self, sql: str, params: Params = ()) -> int:
        return len(await self.fetch_all(sql, params))


@pytest.mark.sqlite
async def test_the_questions_of_a_process_are_not_looked_for_among_all(crowded: Cli) -> None:
    with closing(sqlite3.connect(crowded.data / "mission.sqlite3")) as database:
        unit: Any = Explaining(database)
        await open_ids(unit, "pid")
        await open_questions(unit, ["pid"])
        await close_interrupts(unit, "pid", 0)
    found = [step for step in unit.steps if "status=?" in step]
    assert len(found) == 3
    assert [step for step in found if "process_id=? AND status=?" not in step] == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it like this")
def test_processes_that_wait_take_no_memory(crowded: Cli, cli: Cli) -> None:
    cli.install("asks", ASKS)
    with cli.server():  # the first start makes the tables, and keeps the memory that this took
        pass
    with cli.server() as empty, crowded.server() as full:
        for server in (empty, full):
            assert server.get("/ready")["status"] == "healthy"
        assert abs(resident(full) - resident(empty)) < MOST_MIB


async def test_an_answer_resumes_one_of_them(crowded: Cli) -> None:
    with crowded.server() as server:
        [question] = (await server.execute(QUESTION, "user7"))["interrupts"]["nodes"]
        answered = await server.execute(ANSWER, "user7", id=question["interruptId"])
        process = answered["answerClarification"]["process"]
        assert process == {"state": "TERMINATED", "reply": "billing"}
