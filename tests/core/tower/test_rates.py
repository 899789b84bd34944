"""How often a user may send, counted in memory and in Redis."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from mission_system.core.errors import Busy
from mission_system.core.identity import Caller
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.rates import RateLimitsUnusable


async def echo(mission: Mission) -> str:
    return mission.message


@pytest.fixture
async def redis_url(require_program) -> AsyncIterator[str]:
    """A Redis of its own on a free port."""
    program = require_program("redis-server", install="apt install redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = await asyncio.create_subprocess_exec(
        *command, "--dir", "/tmp", stdout=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                await asyncio.sleep(0.02)
    writer.close()
    await writer.wait_closed()
    yield f"async+redis://127.0.0.1:{port}"
    server.terminate()
    await server.wait()


async def refused(node, send) -> None:
    assert [(await send(node)).reply for _ in range(2)] == ["hi", "hi"]
    with pytest.raises(Busy) as busy:
        await send(node)
    assert 3500 < busy.value.retry_after <= 3600
    assert (await send(node, caller=Caller("bob"))).reply == "hi"


async def test_user_who_sends_too_often_is_told_when_to_try_again(start_node, send, ann) -> None:
    node = await start_node(echo, rate_limits="100/minute, 2/hour")
    await refused(node, send)
    assert len((await node.tower.list_processes(ann)).items) == 2


async def test_fork_counts_as_sending(start_node, send, ann) -> None:
    node = await start_node(echo, rate_limits="2/hour")
    process = await send(node)
    await node.tower.fork_process(ann, process.pid, steps=0)
    with pytest.raises(Busy):
        await node.tower.fork_process(ann, process.pid, steps=0)


async def test_servers_count_together_in_redis(start_node, send, redis_url) -> None:
    settings = {"rate_limits": "2/hour", "rate_limit_storage": redis_url}
    await refused(await start_node(echo, **settings), send)
    other = await start_node(echo, folder="other", **settings)
    with pytest.raises(Busy):
        await send(other)


async def test_connections_to_redis_are_closed_when_the_server_stops(
    start_node, send, redis_url
) -> None:
    async with Redis.from_url(redis_url.removeprefix("async+")) as watcher:
        node = await start_node(echo, rate_limits="2/hour", rate_limit_storage=redis_url)
        await send(node)
        assert len(await watcher.client_list()) > 1
        await node.stop()
        async with asyncio.timeout(10):
            while len(await watcher.client_list()) > 1:
                await asyncio.sleep(0.01)


async def test_nobody_is_refused_while_redis_is_away(start_node, send) -> None:
    settings = {"rate_limits": "1/hour", "rate_limit_storage": "async+redis://127.0.0.1:1"}
    node = await start_node(echo, **settings)
    assert [(await send(node)).reply for _ in range(2)] == ["hi", "hi"]


@pytest.mark.parametrize(
    ("absent", "storage", "extra"),
    [
        ("limits", "async+memory://", r"\[limits\]"),
        ("redis", "async+redis://127.0.0.1:1", r"\[redis\]"),
    ],
)
async def test_start_says_what_to_install(
    start_node, monkeypatch: pytest.MonkeyPatch, absent: str, storage: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(RateLimitsUnusable, match=f"pip install 'mission-system{extra}'"):
        await start_node(echo, rate_limits="2/hour", rate_limit_storage=storage)
    assert (await start_node(echo)).tower.depth == (0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_limits", "60/fortnight"),
        ("rate_limits", "60/minute, often"),
        ("rate_limit_storage", "redis://:secret@127.0.0.1:1"),
        ("rate_limit_storage", "async+redis://:secret@127.0.0.1:port"),
        ("rate_limit_storage", "async+paper://secret"),
    ],
)
async def test_setting_that_says_nothing_is_named_at_the_start(
    start_node, name: str, value: str
) -> None:
    with pytest.raises(RateLimitsUnusable, match=f"^MISSION_{name.upper()}") as error:
        await start_node(echo, **{"rate_limits": "2/hour", name: value})
    assert "secret" not in error.value.message
