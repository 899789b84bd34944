"""How many subscriptions one user may have open, over all connections of a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from mission_system.core.settings import Settings
from mission_system.schema.build import MissionSchema, build_schema
from mission_system.schema.subscribers import Subscribers

from .conftest import Client

EVENTS = """
subscription Events($id: ID!) { sessionEvents(sessionId: $id, after: "") { type seq } }
"""
REPLY = "subscription Reply($id: ID!) { replyStream(processId: $id) { __typename } }"


@pytest.fixture
def schema() -> MissionSchema:
    return build_schema(Settings(max_user_subscriptions=2))


@pytest.fixture
def subscribers(schema: MissionSchema) -> Subscribers:
    return schema.subscribers


async def refused(client: Client, query: str, **variables: Any) -> dict[str, Any]:
    results = await client.schema.subscribe(
        query, variable_values=variables, context_value=client.context
    )
    [result] = [result async for result in results]
    [error] = result.errors or []
    return dict(error.formatted)


async def test_a_user_has_so_many_subscriptions_open_and_no_more(
    client: Client, subscribers: Subscribers
) -> None:
    session = (await client.send("hello"))["process"]["sessionId"]
    open: list[AsyncGenerator[Any, None]] = [client.follow(EVENTS, id=session) for _ in "ab"]
    for stream in open:
        await anext(stream)
    error = await refused(client, EVENTS, id=session)
    assert error["extensions"] == {"code": "QUOTA_EXCEEDED", "reason": "max_user_subscriptions"}
    assert "MISSION_MAX_USER_SUBSCRIPTIONS" in error["message"]
    # Nobody else is harmed, nor anything but subscriptions.
    assert await client.data("{ viewer { userId } }")
    other = client.called("ben")
    theirs = (await other.send("hello"))["process"]["sessionId"]
    their_stream = other.follow(EVENTS, id=theirs)
    await anext(their_stream)
    assert subscribers.total == 3
    await open[0].aclose()
    again = client.follow(EVENTS, id=session)
    await anext(again)
    for stream in (open[1], again, their_stream):
        await stream.aclose()
    assert subscribers.total == 0


async def test_a_subscription_that_ends_by_itself_is_counted_no_more(
    client: Client, subscribers: Subscribers
) -> None:
    pid = (await client.send("hello"))["process"]["pid"]
    for _ in range(5):
        parts = [part async for part in client.follow(REPLY, id=pid)]
        assert parts[-1]["__typename"] == "ReplyFinished"
    assert subscribers.total == 0


async def test_a_subscription_that_never_began_is_not_counted(
    client: Client, subscribers: Subscribers
) -> None:
    for _ in range(5):
        assert (await refused(client, EVENTS, id="none"))["extensions"]["code"] == "NOT_FOUND"
        assert (await refused(client, "subscription { nothing }"))["extensions"]
        await client.error(EVENTS, id="none")  # as a query, which it is not
    assert subscribers.total == 0


async def test_a_subscription_that_is_cancelled_is_counted_no_more(
    client: Client, subscribers: Subscribers
) -> None:
    session = (await client.send("hello"))["process"]["sessionId"]

    async def follow() -> None:
        async for _ in client.follow(EVENTS, id=session):
            pass

    task = asyncio.create_task(follow())
    while subscribers.total == 0:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert subscribers.total == 0
