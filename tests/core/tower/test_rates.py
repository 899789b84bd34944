"""How often a user may send, counted in memory and in Redis."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from mission_system.core.errors import Busy
from mission_system.core.identity import Caller
from mission_system.core.tower.mission import Mission


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


async def test_servers_count_together_in_redis(start_node, send, redis_url) -> None:
    settings = {"rate_limits": "2/hour", "rate_limit_storage": redis_url}
    await refused(await start_node(echo, **settings), send)
    other = await start_node(echo, folder="other", **settings)
    with pytest.raises(Busy):
        await send(other)


async def test_nobody_is_refused_while_redis_is_away(start_node, send) -> None:
    settings = {"rate_limits": "1/hour", "rate_limit_storage": "async+redis://127.0.0.1:1"}
    node = await start_node(echo, **settings)
    assert [(await send(node)).reply for _ in range(2)] == ["hi", "hi"]
