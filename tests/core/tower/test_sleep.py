"""A long sleep is a suspension: nothing runs, nothing is held, nothing is charged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mission_system.core.clock import SECOND, now
from mission_system.core.tower import mission_sleep
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome, ProcessState

FOREVER = 100_000.0


async def naps(mission: Mission) -> str:
    await mission.sleep(FOREVER)
    return "awake"


async def echo(mission: Mission) -> str:
    return f"echo {mission.message}"


async def asleep(node: Any, ann: Any, pid: str) -> None:
    async with asyncio.timeout(30):
        while (await node.tower.get(ann, pid)).state is not ProcessState.BLOCKED:
            await asyncio.sleep(0.005)


async def pass_time(node: Any) -> None:
    """As if the sleep had begun long ago."""

    async def unit(tx: Any) -> None:
        past = now() - int(2 * FOREVER * SECOND)
        await tx.execute("UPDATE step SET created_at = ? WHERE kind = 'sleep'", (past,))
        await tx.execute("UPDATE alarm SET wake_at = ?", (past,))

    await node.database.write(unit)


async def test_sleeper_holds_no_slot_and_its_waiter_waits_on(start_node, send, ann) -> None:
    node = await start_node(naps, echo, running_slots=1)
    process = await send(node, wait=None)
    await asleep(node, ann, process.pid)
    assert (await send(node, capability="echo")).reply == "echo hi"
    waiting = asyncio.create_task(node.tower.wait(ann, process.pid, 30))
    found = await node.tower.get(ann, process.pid)
    assert (found.reason, found.settled) == ("sleeping", False)
    await pass_time(node)
    node.tower.upkeep.alarms.notice(0)
    assert (await waiting).reply == "awake"


async def test_sleep_ends_by_itself(
    start_node, send, ann, told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mission_sleep, "SHORT_SECONDS", 0.0)

    async def work(mission: Mission) -> str:
        await mission.sleep(0.05)
        await mission.sleep(0.05)
        return "rested"

    node = await start_node(work)
    process = await send(node, wait=60)
    assert process.reply == "rested"
    changes = [
        (event.payload["to"], event.payload.get("reason"))
        for event in await told(node, process)
        if event.type == "process.state_changed"
    ]
    assert changes.count(("blocked", "sleeping")) + changes.count(("ready", "woken")) >= 2
    steps = await node.tower.steps(ann, process.pid)
    assert [(step.kind, step.status) for step in steps] == [("sleep", "completed")] * 2
    assert await node.database.fetch_all("SELECT * FROM alarm") == []


async def test_time_asleep_is_not_charged(start_node, send, ann) -> None:
    node = await start_node(naps, quota={"timeout_seconds": 60, "soft_timeout_seconds": 50})
    process = await send(node, wait=None)
    await asleep(node, ann, process.pid)
    await pass_time(node)
    node.tower.upkeep.alarms.notice(0)
    process = await node.tower.wait(ann, process.pid, 30)
    assert process.outcome is Outcome.COMPLETED
    assert process.usage.elapsed_seconds < 60


async def test_sleeper_whose_time_came_while_no_server_ran_wakes_at_the_start(
    start_node, send, ann
) -> None:
    node = await start_node(naps)
    process = await send(node, wait=None)
    await asleep(node, ann, process.pid)
    await pass_time(node)
    await node.stop()
    node = await start_node(naps)
    assert (await node.tower.wait(ann, process.pid, 30)).reply == "awake"


async def test_sleeper_sleeps_on_over_a_restart(start_node, send, ann) -> None:
    node = await start_node(naps)
    process = await send(node, wait=None)
    await asleep(node, ann, process.pid)
    [before] = await node.database.fetch_all("SELECT wake_at FROM alarm")
    wake_at = before["wake_at"]
    await node.stop()
    node = await start_node(naps, echo)
    assert (await send(node, capability="echo")).reply == "echo hi"
    assert (await node.tower.get(ann, process.pid)).state is ProcessState.BLOCKED
    [after] = await node.database.fetch_all("SELECT wake_at FROM alarm")
    assert after["wake_at"] == wake_at


async def test_sleeper_is_cancelled_and_woken_no_more(start_node, send, ann) -> None:
    node = await start_node(naps)
    process = await send(node, wait=None)
    await asleep(node, ann, process.pid)
    process = await node.tower.cancel_request(ann, process.pid)
    assert process.outcome is Outcome.CANCELLED
    await pass_time(node)
    await node.tower.upkeep.alarms._round(now())
    assert (await node.tower.get(ann, process.pid)).outcome is Outcome.CANCELLED
    assert await node.database.fetch_all("SELECT * FROM alarm") == []


async def test_question_beside_a_sleep_is_asked_and_answered_meanwhile(
    start_node, send, ann
) -> None:
    async def work(mission: Mission) -> str:
        _, colour = await mission.gather(mission.sleep(FOREVER), mission.clarify("which?"))
        return colour

    node = await start_node(work)
    process = await send(node, wait=30)
    assert process.state is ProcessState.WAITING
    process = await node.tower.resume_request(ann, process.pending.id, "blue")
    await asleep(node, ann, process.pid)
    await pass_time(node)
    node.tower.upkeep.alarms.notice(0)
    assert (await node.tower.wait(ann, process.pid, 30)).reply == "blue"


@pytest.mark.parametrize("seconds", [-1.0, 1e13, float("nan"), float("inf")])
async def test_what_is_no_length_of_time_is_refused(start_node, send, seconds: float) -> None:
    async def work(mission: Mission) -> str:
        await mission.sleep(seconds)
        return "never"

    node = await start_node(work)
    process = await send(node)
    assert (process.outcome, process.reason) == (Outcome.FAILED, "invalid_input")
    assert "from 0 to 3153600000 (100 years)" in process.error
