"""Idempotency keys: sent again, a request is the one that it was."""

from __future__ import annotations

import asyncio

import pytest

from mission_system.core.capabilities import Reply
from mission_system.core.errors import Busy, Conflict, InvalidInput, NotFound
from mission_system.core.identity import Caller
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import ProcessControlBlock, ProcessState


async def echo(mission: Mission) -> Reply:
    return Reply(f"echo {mission.message}")


async def held(mission: Mission) -> str:
    return await mission.clarify("which?")


async def messages(node, ann, session_id: str) -> int:
    return len((await node.chat.list_messages(ann, session_id)).items)


async def test_a_key_sent_again_gives_the_first_process_and_does_nothing(
    start_node, send, ann
) -> None:
    node = await start_node(echo)
    first = await send(node, idempotency_key="k")
    before = node.database._writer.units
    assert await send(node, idempotency_key="k") == first
    assert await send(node, idempotency_key="k", session_id=first.session_id) == first
    assert node.database._writer.units == before
    assert await messages(node, ann, first.session_id) == 2


async def test_a_key_sent_again_waits_for_what_is_still_running(start_node, send) -> None:
    reached, opened = asyncio.Event(), asyncio.Event()

    async def slow(_: Mission) -> Reply:
        reached.set()
        await opened.wait()
        return Reply("done")

    node = await start_node(slow)
    first = await send(node, idempotency_key="k", wait=None)
    await reached.wait()
    assert (await send(node, idempotency_key="k", wait=None)).state is ProcessState.RUNNING
    again = asyncio.create_task(send(node, idempotency_key="k", on_busy="cancel_previous"))
    opened.set()
    assert ((await again).pid, (await again).reply) == (first.pid, "done")


async def test_equal_keys_sent_at_the_same_time_make_one_process(start_node, send, ann) -> None:
    node = await start_node(echo)
    session = (await send(node)).session_id
    done = await asyncio.gather(
        *(send(node, idempotency_key="k", session_id=session) for _ in range(20))
    )
    assert len({process.pid for process in done}) == 1
    assert {process.reply for process in done} == {"echo hi"}
    assert await messages(node, ann, session) == 4


async def test_an_equal_key_that_is_refused_as_busy_gives_the_first_that_was_taken(
    start_node, send, monkeypatch
) -> None:
    node = await start_node(echo, rate_limits="1/hour")
    first = await send(node, idempotency_key="k")
    known = node.tower.get

    async def not_yet(caller: Caller, id: str) -> ProcessControlBlock:
        """Asked when the first was on its way; what asks later sees it."""
        monkeypatch.setattr(node.tower, "get", known)
        raise NotFound("process", id)

    monkeypatch.setattr(node.tower, "get", not_yet)
    assert (await send(node, idempotency_key="k")).pid == first.pid
    with pytest.raises(Busy):
        await send(node, idempotency_key="other")


async def test_a_key_with_other_work_is_a_conflict_that_says_what_differs(
    start_node, send, ann
) -> None:
    node = await start_node(echo, held)
    session = (await send(node)).session_id
    first = await send(node, idempotency_key="k")
    for name, other in (
        ("message", {"message": "other"}),
        ("session", {"session_id": session}),
        ("capability", {"capability": "held"}),
        ("context", {"context": {"depth": 2}}),
    ):
        with pytest.raises(Conflict, match=f"another {name}"):
            await send(node, idempotency_key="k", **other)
    assert await messages(node, ann, first.session_id) == 2
    assert await messages(node, ann, session) == 2


async def test_a_context_is_compared_as_json(start_node, send) -> None:
    node = await start_node(echo)
    first = await send(node, idempotency_key="k", context={"a": (1, 2), "b": None})
    again = await send(node, idempotency_key="k", context={"b": None, "a": [1, 2]})
    assert again.pid == first.pid


async def test_a_key_is_its_users_own(start_node, send) -> None:
    node = await start_node(echo)
    first = await send(node, idempotency_key="k")
    other = await send(node, idempotency_key="k", caller=Caller("bob"))
    assert other.pid != first.pid


async def test_a_request_that_was_refused_leaves_its_key_free(start_node, send) -> None:
    node = await start_node(echo)
    with pytest.raises(InvalidInput):
        await send(node, idempotency_key="k", capability="unknown")
    assert (await send(node, idempotency_key="k")).reply == "echo hi"


@pytest.mark.parametrize("key", ["", "k" * 256, "nul\0", "\ud800"])
async def test_a_key_that_cannot_be_one_is_refused(start_node, send, key: str) -> None:
    node = await start_node(echo)
    with pytest.raises(InvalidInput, match="idempotency_key"):
        await send(node, idempotency_key=key)


async def test_a_key_beside_a_request_id_is_refused(start_node, send) -> None:
    node = await start_node(echo)
    with pytest.raises(InvalidInput, match="not both"):
        await send(node, idempotency_key="k", request_id="r")
