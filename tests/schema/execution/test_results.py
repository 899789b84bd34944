"""One event is executed once for all who ask the same of it, and for nobody else."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import strawberry
from graphql import ExecutionResult as CoreResult
from graphql import parse
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from mission_system.schema.execution.plan import Field, operations
from mission_system.schema.execution.results import Results, SharedResult, Sharing
from mission_system.schema.reply import ReplyDelta

from ..conftest import Client

EVENTS = 'subscription ($id: ID!) { sessionEvents(sessionId: $id, after: "") { seq type } }'
LIVE = "subscription ($id: ID!) { sessionEvents(sessionId: $id) { type } }"
RENAMED = 'subscription ($id: ID!) { sessionEvents(sessionId: $id, after: "") { seq kind: type } }'
CHOSEN = """subscription ($id: ID!, $typed: Boolean!) {
  sessionEvents(sessionId: $id, after: "") { seq type @include(if: $typed) }
}"""


LAST = "query ($id: ID!) { session(id: $id) { lastCursor } }"
AFTER = """subscription ($id: ID!, $after: String) {
  sessionEvents(sessionId: $id, after: $after) { seq type }
}"""
TWO = parse("query A { viewer { userId } } query B { viewer { role } }")


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


async def test_what_is_kept_does_not_grow_with_who_follows(client: Client) -> None:
    """One who stays keeps the newest events in memory, and others come and go over them."""
    session = (await client.send("hi"))["process"]["sessionId"]
    after = (await client.data(LAST, id=session))["session"]["lastCursor"]
    stays = await opened(client, AFTER, id=session, after=after)
    async with aclosing(stays):
        waiting = asyncio.ensure_future(anext(stays))
        while not client.node.followers._tails:
            await asyncio.sleep(0.01)
        await client.send("again", sessionId=session)
        await waiting
        for number in range(20):
            query = AFTER.replace("type", f"a{number}: type")
            await first(await opened(client, query, id=session, after=after))
        [tail] = client.node.followers._tails.values()
        kept = [len(made.results) for event in tail._ring for made in event.made.values()]
    assert kept
    assert 0 < max(kept) <= 4


def test_results_are_kept_of_the_newest_events_only() -> None:
    made = operations(TWO)
    sharing, events = Sharing(events=3, each=1), [Results() for _ in range(5)]
    for results in events:
        for operation in made:
            sharing.keep(results, operation, SharedResult({}, None))
    assert [len(results) for results in events] == [0, 0, 1, 1, 1]
    assert made[0] in events[-1]


def test_a_kept_result_does_not_keep_its_operation() -> None:
    """A document takes much more memory than a result does."""
    sharing, results = Sharing(), Results()
    operation = operations(TWO)[0]
    sharing.keep(results, operation, SharedResult({}, None))
    assert len(results) == 1
    del operation
    gc.collect()
    assert len(results) == 0


async def test_the_plan_of_a_subscription_is_made_once(client: Client) -> None:
    """Also where variables decide what is selected, and a value's type is found out each time."""
    query = """subscription ($texts: Boolean!) { replyStream(processId: "") {
      ... on ReplyDelta { offset text @include(if: $texts) } } }"""
    executor, _ = client.schema._prepared(
        query, {"texts": True}, client.context, None, None, set(OperationType), None
    )
    fields: list[int] = []
    for offset in range(4):
        delta = ReplyDelta(cursor="", step="", attempt=1, offset=offset, text="a")
        event = strawberry.cast(ReplyDelta, delta)
        result = executor.for_event(event).execute_operation()
        assert isinstance(result, CoreResult)
        assert result.data == {"replyStream": {"offset": offset, "text": "a"}}
        gc.collect()
        fields.append(sum(isinstance(each, Field) for each in gc.get_objects()))
    assert set(fields) == {fields[0]}
