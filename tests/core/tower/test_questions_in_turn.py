"""Of the questions of one request, one at a time is to be shown: events say when its turn comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import ChildFailed
from mission_system.core.events.bridge import EventBridge, Request
from mission_system.core.events.event import Event
from mission_system.core.node import Node
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Interrupt, ProcessControlBlock, Quota

from .conftest import ANN

BOUNDED = Quota(max_steps=1, on_exhausted="ask")
SHORT = Quota(timeout_seconds=1, soft_timeout_seconds=0.9)


async def asker(mission: Mission) -> str:
    return await mission.clarify(mission.message)


async def slow(mission: Mission) -> str:
    await mission.gather(
        mission.clarify(mission.message), mission.step("slow", asyncio.Event().wait)
    )
    return "never"


async def greedy(mission: Mission) -> str:
    for _ in range(3):
        await mission.step("effect", lambda: None)
    return "all"


async def parent(mission: Mission) -> str:
    """Spawns `<capability>:<message>` for each word."""

    async def spawn(capability: str, message: str) -> str:
        try:
            return (await mission.spawn(capability, message)).text
        except ChildFailed as error:
            return error.reason

    words = [word.split(":") for word in mission.message.split()]
    return " ".join(await mission.gather(*(spawn(*word) for word in words)))


@pytest.fixture
def turn() -> asyncio.Event:
    """Set when `late` may ask."""
    return asyncio.Event()


@pytest.fixture
async def node(start_node: Any, turn: asyncio.Event) -> Node:
    async def late(mission: Mission) -> str:
        await turn.wait()
        return await mission.clarify(mission.message)

    bounded = OrchestratorSpec("greedy", greedy, quota=BOUNDED)
    asking = OrchestratorSpec("parent", parent, quota=Quota(on_exhausted="ask"))
    found: Node = await start_node(
        asking, asker, late, bounded, OrchestratorSpec("slow", slow, quota=SHORT)
    )
    return found


async def asked(node: Node, pid: str, count: int) -> tuple[Interrupt, ...]:
    """The open questions, once there are so many."""
    async with asyncio.timeout(10):
        while len(found := (await node.tower.get(ANN, pid)).interrupts) != count:
            await asyncio.sleep(0.01)
    return found


async def events(node: Node, process: ProcessControlBlock) -> list[Event]:
    return list(await node.events.read(ANN, process.session_id, limit=500))


async def shown(node: Node, process: ProcessControlBlock) -> list[str]:
    """What a client of the former interface was shown."""
    bridge, request = EventBridge(), Request(process.pid, process.request_id)
    frames = [bridge.translate(each, request) for each in await events(node, process)]
    return [
        frame.payload.get("clarification_question") or frame.name.partition(".")[2]
        for frame in frames
        if frame is not None and frame.name.startswith("orchestrator.")
    ]


async def test_questions_are_in_the_order_in_which_they_were_stored(node: Node, send: Any) -> None:
    process = await send(node, "asker:a asker:b", capability="parent", wait=None)
    first, second = await asked(node, process.pid, 2)
    assert first.created_at < second.created_at
    await node.database.write(
        lambda tx: tx.execute("UPDATE interrupt SET created_at = 1 WHERE id = ?", (second.id,))
    )
    found = (await node.tower.get(ANN, process.pid)).interrupts
    assert [each.id for each in found] == [second.id, first.id]
    await node.tower.cancel_request(ANN, process.pid)


async def test_a_question_is_told_once_an_older_one_was_cancelled_with_its_process(
    node: Node, send: Any
) -> None:
    process = await send(node, "asker:a asker:b asker:c", capability="parent", wait=None)
    first, second, third = await asked(node, process.pid, 3)
    await node.tower.cancel_request(ANN, second.pid)  # whose turn it is stays as it is
    assert await shown(node, process) == ["started", first.question]
    await node.tower.cancel_request(ANN, first.pid)
    expected = ["started", first.question, third.question]
    assert await shown(node, process) == expected
    await node.tower.cancel_request(ANN, process.pid)
    assert await shown(node, process) == [*expected, "cancelled"]


async def test_a_question_is_told_once_the_process_of_an_older_one_has_failed(
    node: Node, send: Any, turn: asyncio.Event
) -> None:
    process = await send(node, "slow:a late:b", capability="parent", wait=None)
    await asked(node, process.pid, 1)
    turn.set()
    await asked(node, process.pid, 2)
    assert await shown(node, process) == ["started", "a"]
    [left] = await asked(node, process.pid, 1)
    assert await shown(node, process) == ["started", "a", "b"]
    process = await node.tower.resume_request(ANN, left.id, "so", wait=10)
    assert process.reply == "timeout_exceeded so"


async def test_an_appeal_holds_nothing_back_and_is_told_at_once(node: Node, send: Any) -> None:
    process = await send(node, "greedy:x asker:b", capability="parent", wait=None)
    await asked(node, process.pid, 2)
    again = await send(node, "asker:b greedy:x", capability="parent", wait=None)
    appeal = next(each for each in await asked(node, again.pid, 2) if each.kind != "clarification")
    for each in (process, again):
        raised = [e for e in await events(node, each) if e.type == "interrupt.raised"]
        assert [e.payload.get("behind") for e in raised] == [None, None]
        assert sorted(await shown(node, each)) == ["b", "resource_exhausted", "started"]
    await node.tower.resume_request(ANN, appeal.id, "end")
    await asked(node, again.pid, 1)
    [resolved] = [e for e in await events(node, again) if e.type == "interrupt.resolved"]
    assert "next" not in resolved.payload  # it was told before
    await node.tower.cancel_request(ANN, process.pid)
    await node.tower.cancel_request(ANN, again.pid)
