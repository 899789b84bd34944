"""Runs that go on though their time is up: their process is ended from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import ChildFailed
from mission_system.core.tower import deadlines, dispatch, execution
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome, ProcessState, Quota

HURRY = Quota(timeout_seconds=0.2, soft_timeout_seconds=0.1, on_exhausted="ask")


class Stubborn:
    """Swallows every cancellation until it is let go."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def stubborn(self, mission: Mission) -> str:
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    async def branched(self, mission: Mission) -> str:
        await mission.gather(self.stubborn(mission), mission.step("quick", str))
        return "late"

    @property
    def spec(self) -> OrchestratorSpec:
        return OrchestratorSpec("stubborn", self.stubborn, quota=HURRY)


@pytest_asyncio.fixture
async def stubborn(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stubborn]:
    monkeypatch.setattr(deadlines, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(dispatch, "ABANDON_SECONDS", 0.1)
    stubborn = Stubborn()
    yield stubborn
    stubborn.gate.set()


@pytest.mark.parametrize("branched", [False, True])
async def test_run_that_swallows_its_cancellation_is_cut_off(
    start_node, send, ann, told, stubborn: Stubborn, branched: bool
) -> None:
    work = stubborn.branched if branched else stubborn.stubborn
    node = await start_node(OrchestratorSpec("work", work, quota=HURRY), running_slots=1)
    with capture_logs() as logs:
        process = await send(node)
        assert (process.outcome, process.reason) == (Outcome.FAILED, "timeout_exceeded")
        assert process.error == "the limit of 0.2 seconds is reached"
        async with asyncio.timeout(10):
            while node.tower.depth != (0, 0):
                await asyncio.sleep(0.01)
    assert "a run goes on though its time is up" in [line["event"] for line in logs]
    process = await node.tower.get(ann, process.pid)
    assert (process.epoch, process.interrupts) == (2, ())
    assert process.usage.elapsed_seconds >= 0.3
    stubborn.gate.set()
    await asyncio.sleep(0.05)
    assert await node.tower.get(ann, process.pid) == process  # what it still does is not written
    events = [event.type for event in await told(node, process)]
    assert events.count("resource.exhausted") == 1
    assert events[-1] == "process.failed"


async def test_child_that_is_cut_off_fails_in_its_parent(
    start_node, send, stubborn: Stubborn
) -> None:
    async def boss(mission: Mission) -> str:
        try:
            return (await mission.spawn("stubborn", "go")).text
        except ChildFailed as error:
            return f"{error.reason}: {error.text}"

    node = await start_node(boss, stubborn.spec)
    process = await send(node)
    assert process.reply == "timeout_exceeded: the limit of 0.2 seconds is reached"


async def test_run_is_cut_off_once_the_storage_is_back(
    start_node, send, stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "RETRY_SECONDS", (0.01, 0.02))
    node = await start_node(stubborn.spec)
    write, failures = node.database.write, 0

    async def brittle(unit):
        nonlocal failures
        if "cut_off" in unit.__qualname__ and failures < 2:
            failures += 1
            raise OSError("connection lost")
        return await write(unit)

    monkeypatch.setattr(node.database, "write", brittle)
    assert (await send(node)).reason == "timeout_exceeded"
    assert failures == 2


async def test_server_stops_while_the_storage_that_keeps_a_run_from_its_end_is_away(
    start_node, send, stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await start_node(stubborn.spec, shutdown_seconds=0.1)
    write, failed = node.database.write, asyncio.Event()

    async def away(unit):
        if "cut_off" in unit.__qualname__:
            failed.set()
            raise OSError("connection lost")
        return await write(unit)

    monkeypatch.setattr(node.database, "write", away)
    monkeypatch.setattr(execution, "RETRY_SECONDS", (3600.0, 3600.0))
    await send(node, wait=None)
    async with asyncio.timeout(10):
        await failed.wait()
        asyncio.get_running_loop().call_later(0.5, stubborn.gate.set)
        await node.tower.stop()


async def test_run_that_ends_within_its_grace_ends_by_itself(
    start_node, send, ann, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "GRACE_SECONDS", 0.3)

    async def tidy(mission: Mission) -> str:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)
        return "never"

    node = await start_node(OrchestratorSpec("tidy", tidy, quota=HURRY))
    process = await send(node)
    await asyncio.sleep(0.4)
    process = await node.tower.get(ann, process.pid)
    assert (process.state, process.epoch) == (ProcessState.WAITING, 1)
    assert process.pending.kind == "timeout"
