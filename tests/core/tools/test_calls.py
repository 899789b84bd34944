"""Rolled-up calls are the calls: compared with a naive scan of all of them, whatever happens."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from databases import ChosenDatabases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mission_system.core.clock import SECOND, Micros, now
from mission_system.core.errors import InvalidInput
from mission_system.core.settings import Settings
from mission_system.core.storage.database import Database
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tools import calls as calls_module
from mission_system.core.tools import health as health_module
from mission_system.core.tools.calls import (
    DAY,
    HOUR,
    MINUTE,
    SLOW,
    SLOWEST,
    UNCOUNTED,
    FinishedCall,
    RollUp,
    add_call,
)
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.health import HealthSummary, ToolHealthService
from mission_system.core.tools.spec import ToolStatus

TOOLS = ("mail", "sum", "<b>")


@dataclass(frozen=True)
class Called:
    tool: str
    status: ToolStatus
    ago: Micros
    duration: Micros


CALLS = st.lists(
    st.builds(
        Called,
        st.sampled_from(TOOLS),
        st.sampled_from(list(ToolStatus)),
        st.one_of(
            st.integers(0, 3 * HOUR),
            st.integers(0, 4 * DAY),
            st.sampled_from([0, MINUTE, HOUR, 2 * HOUR, DAY, 3 * DAY]),
        ),
        st.sampled_from([0, 1, SECOND, SLOW - 1, SLOW, SLOW + 1, 60 * SECOND]),
    ),
    max_size=60,
)


class History:
    """Calls stored as units store them, under a clock that a test sets."""

    def __init__(self, database: Database, at: Micros) -> None:
        self.database = database
        self.at = at
        self.health = ToolHealthService(database, ToolCatalog())
        self.roll_up = RollUp(database)
        self.made: list[FinishedCall] = []

    async def add(self, *made: Called) -> None:
        calls = [FinishedCall(c.tool, c.status, self.at - c.ago, c.duration) for c in made]
        self.made += calls

        async def unit(tx: Transaction) -> None:
            for call in calls:
                await add_call(tx, call)

        await self.database.write(unit)

    def naive(self, hours: int) -> tuple[dict[str, Any], list[int]]:
        """The same, from a look at every call that was ever made."""
        since = (self.at - hours * HOUR) // MINUTE * MINUTE
        tools: dict[str, Any] = defaultdict(lambda: [0, 0, 0, 0, 0])
        slow: list[int] = []
        for call in self.made:
            if call.started_at < since or call.status in UNCOUNTED:
                continue
            found = tools[call.tool]
            found[0] += 1
            found[1] += call.status == "success"
            found[2] += call.status in ("error", "timeout")
            found[3] += call.duration
            found[4] = max(found[4], call.started_at)
            if call.duration >= SLOW:
                slow.append(call.duration // 1000)
        return dict(tools), sorted(slow, reverse=True)[:SLOWEST]

    async def check(self, hours: int) -> None:
        summary = await self.health.summary(hours)
        tools, slow = self.naive(hours)
        assert counted(summary) == {
            name: (calls, round(good / calls, 9), bad, round(total / calls / 1000, 6), last)
            for name, (calls, good, bad, total, last) in tools.items()
        }
        found = [each.execution_time_ms for each in summary.slow_executions]
        assert found == slow
        for name in TOOLS:
            alone = await self.health.tool(name, hours)
            if name in tools:
                assert alone.total_calls == tools[name][0]
            else:
                assert (alone.total_calls, alone.status) == (0, "unknown")


def counted(summary: HealthSummary) -> dict[str, Any]:
    return {
        tool.tool_name: (
            tool.total_calls,
            round(tool.success_rate, 9),
            tool.recent_errors,
            round(tool.avg_latency_ms, 6),
            tool.last_used and round(tool.last_used.timestamp() * SECOND),
        )
        for tool in summary.tools
    }


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Micros:
    at = now() // HOUR * HOUR + 17 * MINUTE + 5 * SECOND  # within an hour, and within a minute
    monkeypatch.setattr(health_module, "now", lambda: at)
    return at


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, databases: ChosenDatabases
) -> Iterator[tuple[asyncio.Runner, Database]]:
    """A database for many examples, and the loop that it is open in."""
    database = databases.make(Settings(data=tmp_path_factory.mktemp("history")))
    with asyncio.Runner() as runner:
        runner.run(database.open())
        yield runner, database
        runner.run(database.close())


async def empty(tx: Transaction) -> None:
    for table in ("tool_call", "tool_window", "slow_call"):
        await tx.execute(f"DELETE FROM {table}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=CALLS, second=CALLS, hours=st.sampled_from([1, 2, 3, 24, 47, 72, 8760]))
def test_windows_hold_what_a_naive_scan_finds(
    running: tuple[asyncio.Runner, Database],
    frozen: Micros,
    first: list[Called],
    second: list[Called],
    hours: int,
) -> None:
    runner, database = running

    async def run() -> None:
        await database.write(empty)
        history = History(database, frozen)
        await history.add(*first)
        await history.check(hours)
        assert await history.roll_up.run() == sum(c.status not in UNCOUNTED for c in first)
        await history.check(hours)
        await history.add(*second)  # some rolled up, some not
        await history.check(hours)
        await history.roll_up.run()
        await history.check(hours)
        assert await history.roll_up.run() == 0

    runner.run(run())


@pytest.fixture
async def history(tmp_path: Path, databases: ChosenDatabases, frozen: Micros) -> Any:
    database = databases.make(Settings(data=tmp_path))
    await database.open()
    yield History(database, frozen)
    await database.close()


async def test_a_crash_between_rounds_loses_nothing(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "BATCH", 7)
    await history.add(*[Called("mail", ToolStatus.ERROR, n * SECOND, n) for n in range(50)])
    assert await history.database.write(calls_module._move) == 7
    await history.check(1)

    async def dies(tx: Transaction) -> None:
        await calls_module._move(tx)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        await history.database.write(dies)
    await history.check(1)
    assert await RollUp(history.database).run() == 43
    await history.check(1)


async def test_rolling_up_while_calls_come_in_shows_each_once(history: History) -> None:
    total = 300

    async def calls() -> None:
        for _ in range(total // 3):
            await history.add(*[Called("mail", ToolStatus.SUCCESS, 0, 1)] * 3)

    adding = asyncio.create_task(calls())
    seen = 0
    while not adding.done():
        await history.roll_up.run()
        found = (await history.health.tool("mail")).total_calls
        assert seen <= found <= total
        seen = found
    await adding
    assert (await history.health.tool("mail")).total_calls == total


async def test_the_job_of_a_node_moves_calls_by_itself(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "ROUND_SECONDS", 0.01)
    await history.add(Called("mail", ToolStatus.SUCCESS, 0, 1))
    history.roll_up.start()
    async with asyncio.timeout(30):
        while await history.database.fetch_one("SELECT 1 FROM tool_call") is not None:
            await asyncio.sleep(0.01)
    await history.roll_up.stop()
    await history.check(1)


async def test_of_a_minute_only_the_slowest_calls_are_kept(history: History) -> None:
    times = list(range(SLOW, SLOW + 5 * SLOWEST * SECOND, SECOND))
    random.Random(1).shuffle(times)
    for start in range(0, len(times), 7):
        await history.add(
            *[Called("mail", ToolStatus.SUCCESS, 0, each) for each in times[start : start + 7]]
        )
        await history.roll_up.run()
        await history.check(1)
    kept = await history.database.fetch_all("SELECT duration FROM slow_call")
    assert sorted(row[0] for row in kept) == sorted(times)[-SLOWEST:]


async def test_windows_that_nobody_can_ask_for_are_removed(history: History) -> None:
    await history.add(
        Called("mail", ToolStatus.SUCCESS, 3 * HOUR, SLOW), Called("sum", ToolStatus.ERROR, 0, SLOW)
    )
    await history.roll_up.run()
    await history.roll_up.cut(history.at - 2 * HOUR)
    assert {tool.tool_name for tool in (await history.health.summary()).tools} == {"sum"}
    [slow] = (await history.health.summary()).slow_executions
    assert slow.tool_name == "sum"


@pytest.mark.parametrize("hours", [0, -1, 8761])
async def test_a_window_that_is_none_is_refused(history: History, hours: int) -> None:
    with pytest.raises(InvalidInput, match="hours"):
        await history.health.summary(hours)
    with pytest.raises(InvalidInput, match="hours"):
        await history.health.tool("mail", hours)
