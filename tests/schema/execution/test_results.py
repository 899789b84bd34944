"""One event is executed once for all who ask the same of it, and for nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from strawberry.types import ExecutionResult

from mission_system.schema.execution.results import SharedResult

from ..conftest import Client

EVENTS = 'subscription ($id: ID!) { sessionEvents(sessionId: $id, after: "") { seq type } }'
LIVE = "subscription ($id: ID!) { sessionEvents(sessionId: $id) { type } }"
RENAMED = 'subscription ($id: ID!) { sessionEvents(sessionId: $id, after: "") { seq kind: type } }'
CHOSEN = """subscription ($id: ID!, $typed: Boolean!) {
  sessionEvents(sessionId: $id, after: "") { seq type @include(if: $typed) }
}"""


async def opened(
    client: Client, query: str, **variables: Any
) -> AsyncGenerator[ExecutionResult, None]:
    return await client.schema.stream(query, variables, client.context)


async def first(*followed: AsyncGenerator[ExecutionResult, None]) -> list[ExecutionResult]:
    """The first result of each, all of them followed at once."""
    if not followed:
        return []
    async with aclosing(followed[0]) as results:
        return [await anext(results), *await first(*followed[1:])]


async def test_subscribers_who_ask_the_same_are_given_the_same_result(client: Client) -> None:
    session = (await client.send("hi"))["process"]["sessionId"]
    followed = [await opened(client, LIVE, id=session) for _ in range(2)]
    waiting = [asyncio.ensure_future(anext(results)) for results in followed]
    while sum(tail.followers for tail in client.node.followers._tails.values()) < 2:
        await asyncio.sleep(0.01)
    await client.send("again", sessionId=session)
    one, other = await asyncio.gather(*waiting)
    for results in followed:
        await results.aclose()
    assert isinstance(one, SharedResult)
    assert one is other
    assert one.data == {"sessionEvents": {"type": "chat.message.created"}}


async def test_subscribers_who_ask_otherwise_are_given_what_they_ask_for(client: Client) -> None:
    session = (await client.send("hi"))["process"]["sessionId"]
    _, renamed, typed, untyped = await first(
        await opened(client, EVENTS, id=session),
        await opened(client, RENAMED, id=session),
        await opened(client, CHOSEN, id=session, typed=True),
        await opened(client, CHOSEN, id=session, typed=False),
    )
    assert renamed.data == {"sessionEvents": {"seq": 1, "kind": "chat.session.created"}}
    assert typed.data == {"sessionEvents": {"seq": 1, "type": "chat.session.created"}}
    assert untyped.data == {"sessionEvents": {"seq": 1}}


async def test_what_is_told_besides_is_told_to_who_asked(client: Client) -> None:
    session = (await client.send("hi"))["process"]["sessionId"]
    asked = await client.schema.stream(
        EVENTS, {"id": session}, client.context, operation_extensions={"cost": True}
    )
    plain, costed = await first(await opened(client, EVENTS, id=session), asked)
    assert not plain.extensions
    assert costed.extensions
    assert costed.data == plain.data


async def test_what_a_resolver_has_a_say_in_is_not_shared(client: Client) -> None:
    """Another subscriber may be another user, or come when the answer is another one."""
    process = (await client.send("hi"))["process"]
    ask = """subscription ($id: ID!) { replyStream(processId: $id) {
      ... on ReplyFinished { process { usage { steps } } } } }"""
    results = await client.schema.stream(ask, {"id": process["id"]}, client.context)
    async with aclosing(results):
        found = [result async for result in results]
    assert found[-1].data
    assert found[-1].data["replyStream"]["process"]["usage"]["steps"] > 0
    assert not any(isinstance(result, SharedResult) for result in found)
