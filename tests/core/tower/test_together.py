"""Requests that arrive at the same instant, on any database, find each other."""

from __future__ import annotations

import asyncio

from mission_system.core.errors import Conflict
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import ProcessControlBlock


async def echo(mission: Mission) -> str:
    return mission.message


async def test_one_of_many_requests_with_the_same_id_is_taken(start_node, send) -> None:
    node = await start_node(echo)
    for round in range(5):
        asked = [send(node, request_id=f"r{round}") for _ in range(8)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        taken = [result for result in results if isinstance(result, ProcessControlBlock)]
        assert len(taken) == 1
        assert [type(result) for result in results].count(Conflict) == 7


async def test_many_first_messages_of_one_session_create_it_once(start_node, send, ann) -> None:
    node = await start_node(echo)
    asked = [send(node, str(n), session_id="new", create_session=True) for n in range(8)]
    replies = [process.reply for process in await asyncio.gather(*asked)]
    assert replies == [str(n) for n in range(8)]
    assert len((await node.chat.list_sessions(ann)).items) == 1
    events = await node.events.read(ann, "new", limit=500)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events].count("chat.session.created") == 1


async def test_of_many_cancellations_one_ends_the_process(start_node, send, ann) -> None:
    async def wait(mission: Mission) -> str:
        return await mission.clarify("well?")

    node = await start_node(wait)
    process = await send(node)
    cancelled = [node.tower.cancel_request(ann, process.pid) for _ in range(8)]
    results = await asyncio.gather(*cancelled, return_exceptions=True)
    assert [type(result) for result in results].count(Conflict) == 7
    events = await node.events.read(ann, process.session_id, limit=500)
    assert [event.type for event in events].count("process.cancelled") == 1
