"""A commit that nobody could be sure of: what it stored goes on all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from mission_system.core import trouble
from mission_system.core.errors import ChildFailed, Unavailable
from mission_system.core.tower import sweep
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome, ProcessState


async def echo(mission: Mission) -> str:
    return f"echo {mission.message}"


async def asks(mission: Mission) -> str:
    return await mission.clarify("?")


async def parent(mission: Mission) -> str:
    try:
        return (await mission.spawn("asks", "part")).text
    except ChildFailed:
        return "went on without"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAUSE_SECONDS", 0)


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the next unit whose code has this name be stored, and then fail."""

    def arm(node: Any, name: str) -> list[str]:
        write, lost = node.database.write, list[str]()

        async def brittle(unit: Any) -> Any:
            result = await write(unit)
            if not lost and name in unit.__qualname__:
                lost.append(unit.__qualname__)
                raise Unavailable("the connection was lost at the commit")
            return result

        monkeypatch.setattr(node.database, "write", brittle)
        return lost

    return arm


async def test_an_answer_is_acted_on(start_node, send, ann, lose) -> None:
    node = await start_node(asks)
    process = await send(node)
    lose(node, "Resolver")
    with pytest.raises(Unavailable):
        await node.tower.resume_request(ann, process.pending.id, "blue")
    assert (await node.tower.wait(ann, process.pid, 30)).reply == "blue"


async def test_a_storage_that_stays_away_is_not_told_each_time(
    start_node, send, ann, lose, monkeypatch
) -> None:
    node = await start_node(asks)
    process = await send(node)
    store = node.tower.upkeep.sweep._store
    find, failures = store.pids_in, [Unavailable("away")] * 50

    async def away(state: ProcessState) -> list[str]:
        if failures:
            raise failures.pop()
        return await find(state)

    monkeypatch.setattr(store, "pids_in", away)
    monkeypatch.setattr(trouble, "SETTLED_SECONDS", 0.0)

    lose(node, "Resolver")
    with structlog.testing.capture_logs() as lines:
        with pytest.raises(Unavailable):
            await node.tower.resume_request(ann, process.pending.id, "blue")
        assert (await node.tower.wait(ann, process.pid, 30)).reply == "blue"
    assert failures == []
    told = [line["event"] for line in lines if line["event"].startswith("sweep")]
    assert told == ["sweep failed; trying again", "sweep works again"]


async def test_a_request_is_run(start_node, send, ann, lose) -> None:
    node = await start_node(echo)
    session = (await node.chat.create_session(ann)).session_id
    lose(node, "_submit")
    with pytest.raises(Unavailable):
        await send(node, "hello", session_id=session)
    [process] = (await node.tower.list_processes(ann)).items
    assert (await node.tower.wait(ann, process.pid, 30)).reply == "echo hello"
    assert (await send(node, session_id=session, on_busy="reject")).reply == "echo hi"


async def test_the_parent_of_a_cancelled_child_goes_on(start_node, send, ann, lose) -> None:
    node = await start_node(parent, asks)
    process = await send(node)
    lose(node, "cancel")
    with pytest.raises(Unavailable):
        await node.tower.cancel_request(ann, process.pending.pid)
    assert (await node.tower.wait(ann, process.pid, 30)).reply == "went on without"


async def test_an_expiry_is_acted_on(start_node, send, ann, lose) -> None:
    async def impatient(mission: Mission) -> str:
        return await mission.clarify("?", timeout=0.05)

    node = await start_node(impatient)
    lost = lose(node, "expire")
    process = await send(node, wait=None)
    async with asyncio.timeout(30):
        while (found := await node.tower.get(ann, process.pid)).outcome is None:
            await asyncio.sleep(0.01)
    assert lost
    assert (found.outcome, found.reason) == (Outcome.FAILED, "interrupt_expired")


async def test_what_runs_and_what_is_in_line_is_left_alone(start_node, send, ann) -> None:
    gate = asyncio.Event()
    runs: list[str] = []

    async def work(mission: Mission) -> str:
        runs.append(mission.pid)
        await gate.wait()
        return "ok"

    node = await start_node(work, running_slots=1)
    processes = [await send(node, wait=None) for _ in range(3)]
    await node.tower.upkeep.sweep._round()
    states = [(await node.tower.get(ann, each.pid)).state for each in processes]
    assert states.count(ProcessState.READY) == 2
    gate.set()
    for each in processes:
        assert (await node.tower.wait(ann, each.pid, 30)).reply == "ok"
    assert len(runs) == 3
