"""Followers who come and go leave no memory behind, however they leave."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import pairwise

import httpx
import pytest

from mission_system.schema.build import MissionSchema
from mission_system.schema.execution.results import Sharing

from .conftest import Connect, Http, Server, Socket
from .test_stream import EVENTS, MULTIPART, SESSION

FOLLOWERS = 20
"""Of one round: each comes, is told of a message that is sent meanwhile, and goes."""
LEAK = 500
"""Bytes for each follower: an object and little more. A server that leaks loses them each round;
what else it keeps is bounded, and does not grow in every one of them."""


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


async def check_flat(server: Server, round: Callable[[], Awaitable[None]]) -> None:
    async def in_use() -> int:
        await server.until_nobody_follows()
        await asyncio.sleep(0.2)  # connections end a little later than what they followed
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    schema = server.view.schema
    assert isinstance(schema, MissionSchema)
    schema._sharing = Sharing(events=4)  # what is kept of events is bounded; these fill it at once
    used: list[int] = []
    for _ in range(7):
        await round()
        used.append(await in_use())
    grown = [(b - a) / FOLLOWERS for a, b in pairwise(used)]
    assert min(grown) < LEAK, f"each follower left bytes behind: {grown}"


@pytest.mark.usefixtures("traced")
async def test_sockets_that_come_and_go_leave_nothing(
    connected: Connect, http: Http, server: Server
) -> None:
    session = (await http.send("hello"))["sessionId"]

    async def told(socket: Socket, number: int) -> None:
        assert (await socket.receive())["type"] == "next"
        if number % 2:
            socket.connection.transport.abort()

    async def round() -> None:
        async with AsyncExitStack() as stack:
            sockets = [
                await stack.enter_async_context(connected(max_queue=None))  # reads all there is
                for _ in range(FOLLOWERS)
            ]
            for socket in sockets:
                await socket.subscribe("s", SESSION, id=session, after="")
                await socket.receive()
            await http.send("again", sessionId=session)
            await asyncio.gather(*(told(socket, n) for n, socket in enumerate(sockets)))

    await check_flat(server, round)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("media", [EVENTS, MULTIPART])
async def test_streams_that_come_and_go_leave_nothing(
    http: Http, server: Server, media: str
) -> None:
    session = (await http.send("hello"))["sessionId"]
    body = {"query": SESSION, "variables": {"id": session}}

    async def follow() -> None:
        async with (
            httpx.AsyncClient(timeout=20) as client,
            client.stream("POST", http.url, json=body, headers={"Accept": media}) as response,
        ):
            async for line in response.aiter_lines():
                if "seq" in line:
                    return  # with the stream still open

    async def round() -> None:
        following = asyncio.gather(*(follow() for _ in range(FOLLOWERS)))
        async with asyncio.timeout(20):
            while server.node.followers.count < FOLLOWERS:
                await asyncio.sleep(0.01)
        await http.send("again", sessionId=session)
        await following

    await check_flat(server, round)
