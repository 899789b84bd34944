"""A node lives once, and leaves nothing behind: not when its start is cut short either."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from mission_system.core.capabilities import CapabilityRegistry
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.storage.lease import Lease
from mission_system.core.tools.catalog import ToolCatalog


def make_node(folder: Path) -> Node:
    settings = Settings(data=folder, shutdown_seconds=0.2)
    runtime = create_mission_runtime(ToolCatalog(), settings=settings, use_mock=True)
    return Node(runtime, CapabilityRegistry())


async def test_running_node_is_not_started_again_and_runs_on(start_node) -> None:
    node = await start_node()
    with pytest.raises(RuntimeError, match="lives once"):
        await node.start()
    assert (await node.chat.create_session(Caller("ann"))).message_count == 0


async def test_stopped_node_is_not_started_again(start_node) -> None:
    node = await start_node()
    await node.stop()
    with pytest.raises(RuntimeError, match="lives once"):
        await node.start()


async def test_start_that_is_cancelled_anywhere_leaves_nothing_behind(tmp_path: Path) -> None:
    turns, started = 0, False
    threads = set(threading.enumerate())  # servers of other tests may live in this process too
    while not started:
        node = make_node(tmp_path / str(turns))
        others = asyncio.all_tasks()
        starting = asyncio.create_task(node.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while turns > 2000 and not starting.done():
                await asyncio.sleep(0.001)  # so slow a machine has been cancelled often enough
        starting.cancel()
        results = await asyncio.gather(starting, return_exceptions=True)
        started = results == [None]
        if started:
            await node.stop()
        assert asyncio.all_tasks() == others
        assert Lease.read(tmp_path / str(turns)) is None
        async with asyncio.timeout(10):
            while any(t.name == "mission-writer" for t in set(threading.enumerate()) - threads):
                await asyncio.sleep(0.001)
        turns += max(1, turns // 2)
