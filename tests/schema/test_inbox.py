"""The inbox and the metrics: what waits, and what is counted, as it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import Busy
from mission_system.core.node import Node
from mission_system.core.tower import inbox
from mission_system.core.tower.mission import Mission

from .conftest import Client, Json

INBOX = """
subscription Inbox {
  inbox {
    hasMore
    waiting { question }
    added { interruptId question pid process { parent { pid } session { sessionId } } }
    gone { question status answer }
  }
}
"""
METRICS = "subscription M($s: Float! = 1) { metrics(everySeconds: $s) { totalProcesses takenAt } }"


Next = Callable[[], Awaitable[Json]]


@asynccontextmanager
async def followed(
    client: Client, query: str, **variables: Any
) -> AsyncIterator[Callable[[], Awaitable[Json]]]:
    """Gives what a subscription delivers next."""
    results: AsyncGenerator[Json, None] = client.follow(query, **variables)
    async with aclosing(results):

        async def following() -> Json:
            async with asyncio.timeout(20):
                return await anext(results)

        yield following


def questions(interrupts: list[Json]) -> list[str]:
    return [each["question"] for each in interrupts]


async def answer(client: Client, interrupt: Json, text: str) -> None:
    await client.node.tower.resume_request(client.caller, interrupt["interruptId"], text, wait=10)


async def test_an_inbox_begins_with_what_waits_and_tells_each_change(client: Client) -> None:
    await client.send("/clarify first")
    async with followed(client, INBOX) as following:
        first = await following()
        assert len(first["waiting"]) == len(first["added"]) == 1
        assert (first["gone"], first["hasMore"]) == ([], False)
        await client.send("/confirm second")  # in another session
        second = await following()
        assert len(second["waiting"]) == 2
        assert questions(second["added"]) == questions(second["waiting"][1:])
        await answer(client, first["added"][0], "this one")
        third = await following()
        assert questions(third["waiting"]) == questions(second["added"])
        [gone] = third["gone"]
        assert (gone["status"], gone["answer"]) == ("RESOLVED", "this one")
        pid = second["added"][0]["pid"]
        await client.node.tower.cancel_request(client.caller, pid)
        fourth = await following()
        assert fourth["waiting"] == []
        assert [each["status"] for each in fourth["gone"]] == ["CANCELLED"]


async def test_an_inbox_is_told_what_spawned_processes_ask(client: Client, node: Node) -> None:
    async def boss(mission: Mission) -> str:
        return (await mission.spawn("leaf", "x")).text

    async def leaf(mission: Mission) -> str:
        return await mission.clarify("leaf?")

    node.capabilities.register(OrchestratorSpec("boss", boss))
    node.capabilities.register(OrchestratorSpec("leaf", leaf))
    async with followed(client, INBOX) as following:
        assert (await following())["waiting"] == []
        sent = await client.send("go", capability="boss")
        [asked] = (await following())["added"]
    assert asked["question"] == "leaf?"
    assert asked["pid"] != sent["process"]["pid"]
    assert asked["process"]["parent"] == {"pid": sent["process"]["pid"]}
    assert asked["process"]["session"] == {"sessionId": sent["session"]["sessionId"]}


async def test_a_question_of_a_session_that_is_removed_leaves_the_inbox(client: Client) -> None:
    session = (await client.send("/clarify"))["session"]["sessionId"]
    async with followed(client, INBOX) as following:
        await following()
        await client.node.chat.delete_session(client.caller, session, soft=False)
        state = await following()
    assert (state["waiting"], [each["status"] for each in state["gone"]]) == ([], ["CANCELLED"])


async def test_an_inbox_is_ones_own(client: Client) -> None:
    bob = client.called("bob")
    async with followed(bob, INBOX) as following:
        assert (await following())["waiting"] == []
        await client.send("/clarify of ann")
        await bob.send("/clarify of bob")
        state = await following()
    assert len(state["waiting"]) == 1
    assert state["added"][0]["process"]["session"]["sessionId"]


async def test_what_does_not_fit_follows_when_others_are_answered(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "LONGEST", 2)
    for number in range(3):
        await client.send(f"/clarify {number}")
    async with followed(client, INBOX) as following:
        first = await following()
        assert (len(first["waiting"]), first["hasMore"]) == (2, True)
        await answer(client, first["added"][0], "done")
        second = await following()
    assert (len(second["added"]), len(second["gone"]), second["hasMore"]) == (1, 1, False)


async def test_a_hint_that_is_lost_costs_time_and_no_question(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "REREAD_SECONDS", 0.05)
    monkeypatch.setattr(client.node._hub, "listen_user", lambda *_: None)
    async with followed(client, INBOX) as following:
        await following()
        await client.send("/clarify")
        assert len((await following())["added"]) == 1


async def test_followers_of_one_user_share_each_reading(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = hints = 0
    node = client.node
    pending = node.tower.pending_interrupts

    async def counted(*given: Any, **named: Any) -> Any:
        nonlocal reads
        reads += 1
        return await pending(*given, **named)

    def hinted() -> None:
        nonlocal hints
        hints += 1

    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(followed(client, INBOX)) for _ in range(20)]
        for following in followers:
            await following()
        monkeypatch.setattr(node.tower, "pending_interrupts", counted)
        node._hub.listen_user(client.caller.user_id, hinted)
        await client.send("/clarify")
        states = await asyncio.gather(*(following() for following in followers))
        assert {len(state["added"]) for state in states} == {1}
        assert 1 <= reads <= hints
        node._hub.unlisten_user(client.caller.user_id, hinted)


async def test_a_reading_that_fails_ends_its_follower_and_the_next_reads_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.send("/clarify")
    tower = client.node.tower

    async def failing(*_: Any, **__: Any) -> Any:
        raise Busy("try later", 1.0)

    async with followed(client, INBOX) as staying:
        await staying()
        with monkeypatch.context() as patch:
            patch.setattr(tower, "pending_interrupts", failing)
            with pytest.raises(Busy):
                await anext(client.node.inbox.follow(client.caller))
        state = await anext(client.node.inbox.follow(client.caller))
        assert len(state.waiting) == 1


async def test_followers_leave_nothing_behind_and_end_with_the_server(client: Client) -> None:
    node = client.node
    async with followed(client, INBOX) as following:
        await following()
        assert len(node.inbox._shared) == len(node._hub._users) == 1
    assert (node.inbox._shared, node._hub._users) == ({}, {})
    async with followed(client, INBOX) as inboxes, followed(client, METRICS, s=3600) as samples:
        await inboxes()
        await samples()
        await node.drain()
        for following in (inboxes, samples):
            with pytest.raises(StopAsyncIteration):
                await following()


async def test_metrics_are_told_again_and_again(client: Client) -> None:
    async with followed(client, METRICS) as following:
        before = await following()
        await client.send("hi")
        after = await following()
    assert after["totalProcesses"] == before["totalProcesses"] + 1
    assert after["takenAt"] > before["takenAt"]


async def test_many_followers_cost_one_reading(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    sample = client.node.samples.read

    async def counted() -> Any:
        nonlocal reads
        reads += 1
        return await sample()

    monkeypatch.setattr(client.node.samples, "read", counted)
    monkeypatch.setattr("mission_system.core.sampling.FRESH", 3600.0)

    async def first() -> Json:
        async with followed(client, METRICS) as following:
            return await following()

    assert (
        len({each["takenAt"] for each in await asyncio.gather(*(first() for _ in range(50)))}) == 1
    )
    assert reads == 1


async def test_how_often_is_bounded(client: Client) -> None:
    for seconds in (0, -1, 0.99, 3601, 1e308):
        results = await client.schema.subscribe(
            METRICS, variable_values={"s": seconds}, context_value=client.context
        )
        [result] = [result async for result in results]
        assert result.errors is not None
        assert result.errors[0].extensions == {"code": "INVALID_INPUT", "field": "everySeconds"}


async def test_metrics_are_those_of_the_tower(client: Client) -> None:
    await client.send("hi")
    await client.send("/clarify")
    told = (
        await client.data(
            "{ metrics { totalProcesses activeProcesses processesByState { state count } llmCalls"
            " toolCalls tokensIn tokensOut running inLine takenAt } }"
        )
    )["metrics"]
    kept = await client.node.tower.metrics()
    assert (told["totalProcesses"], told["activeProcesses"]) == (2, 1)
    states = {each["state"].lower(): each["count"] for each in told["processesByState"]}
    assert states == kept.processes_by_state == {"waiting": 1, "terminated": 1}
    assert (told["llmCalls"], told["tokensOut"]) == (kept.system_llm_calls, kept.system_tokens_out)
    assert (told["running"], told["inLine"]) == (0, 0)
