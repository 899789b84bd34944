"""A session is deleted while a process works in it, waits in it, or is in line."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import NotFound
from mission_system.core.node import Node
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope, Outcome, ProcessControlBlock

from .conftest import ANN


class Held:
    """A capability that runs until it is let go, or asks."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def answer(self, mission: Mission) -> str:
        if mission.message == "ask":
            return await mission.clarify("What?")
        self.reached.set()
        await self.opened.wait()
        return "late"


async def submit(node: Node, session: str, text: str, wait: float | None) -> ProcessControlBlock:
    request = Envelope(caller=ANN, message=text, session_id=session)
    process = (await node.tower.submit_request(request, wait=wait)).process
    assert process is not None
    return process


async def held(node: Node) -> tuple[Held, str]:
    held = Held()
    node.capabilities.register(OrchestratorSpec("held", held.answer))
    return held, (await node.chat.create_session(ANN, capability="held")).session_id


async def test_a_soft_deletion_lets_a_run_end_and_hides_what_it_says(node: Node) -> None:
    capability, session = await held(node)
    running = asyncio.create_task(submit(node, session, "go", 30))
    await capability.reached.wait()
    await node.chat.delete_session(ANN, session)
    capability.opened.set()
    process = await running
    assert (process.outcome, process.reply) == (Outcome.COMPLETED, "late")
    assert (await node.chat.list_messages(ANN, session)).items == ()
    assert (await node.chat.get_session(ANN, session)).message_count == 0


async def test_a_hard_deletion_ends_what_runs_and_what_is_in_line(node: Node) -> None:
    capability, session = await held(node)
    running = asyncio.create_task(submit(node, session, "first", 30))
    await capability.reached.wait()
    queued = asyncio.create_task(submit(node, session, "second", 30))
    async with asyncio.timeout(30):
        while node.tower.depth != (1, 1):
            await asyncio.sleep(0.01)
    await node.chat.delete_session(ANN, session, soft=False)
    async with asyncio.timeout(20):
        for process in (await running, await queued):
            assert (process.outcome, process.reason) == (Outcome.CANCELLED, "session deleted")
        while node.tower.depth != (0, 0):
            await asyncio.sleep(0.01)
    assert (await node.tower.list_processes(ANN)).items == ()


@pytest.mark.sqlite
@pytest.mark.parametrize("busy", [False, True], ids=["at once", "in line"])
async def test_a_hard_deletion_that_is_stored_with_the_message_ends_it(
    node: Node, busy: bool
) -> None:
    """Both units are in one commit, so what becomes of either is known before it is followed."""
    capability, session = await held(node)
    waiting: list[asyncio.Task[Any]] = []
    if busy:
        waiting.append(asyncio.create_task(submit(node, session, "first", 30)))
        await capability.reached.wait()
        capability.reached.clear()
    gate, database = threading.Event(), cast(Any, node.database)
    jobs = database._writer._jobs

    async def slow(tx: Transaction) -> None:
        gate.wait(30)

    waiting.append(asyncio.create_task(database.write(slow)))
    await asyncio.sleep(0.05)
    sending = asyncio.create_task(submit(node, session, "late", 30))
    async with asyncio.timeout(30):
        while jobs.qsize() < 1:
            await asyncio.sleep(0.01)
        deleting = asyncio.create_task(node.chat.delete_session(ANN, session, soft=False))
        while jobs.qsize() < 2:
            await asyncio.sleep(0.01)
        gate.set()
        process = await sending
        assert (process.outcome, process.reason) == (Outcome.CANCELLED, "session deleted")
        await asyncio.gather(deleting, *waiting)
        while node.tower.depth != (0, 0):
            await asyncio.sleep(0.01)
    assert not capability.reached.is_set()
    assert (await node.tower.list_processes(ANN)).items == ()


async def test_a_hard_deletion_tells_those_who_follow_and_ends_their_following(
    node: Node,
) -> None:
    capability, session = await held(node)
    asyncio.create_task(submit(node, session, "go", None))  # noqa: RUF006
    await capability.reached.wait()
    following = asyncio.create_task(types(node, session))
    while not node.followers._tails:
        await asyncio.sleep(0.01)
    await node.chat.delete_session(ANN, session, soft=False)
    async with asyncio.timeout(20):
        seen = await following
    assert seen[-3:] == ["process.state_changed", "process.cancelled", "chat.session.deleted"]


async def types(node: Node, session: str) -> list[str]:
    events = node.events.follow_session(ANN, session, after=0)
    return [event.type async for event in events]


async def test_a_question_in_a_deleted_session_is_not_answered(node: Node) -> None:
    _, session = await held(node)
    process = await submit(node, session, "ask", 30)
    assert process.pending is not None
    await node.chat.delete_session(ANN, session)
    with pytest.raises(NotFound, match=session):
        await node.tower.resume_request(ANN, process.pending.id, "this")
    await node.chat.delete_session(ANN, session, soft=False)
    with pytest.raises(NotFound):
        await node.tower.resume_request(ANN, process.pending.id, "this")
    assert await node.tower.pending_interrupts(ANN) == []
