"""A process that servers die under: bounded, unless it gets on, and left to its user."""

from __future__ import annotations

import asyncio
from typing import Any

from mission_system.core.storage.persistence import Transaction
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import ProcessState


async def crash(node: Any, new_step: str | None = None) -> None:
    """What a server that dies leaves: a process that is running, perhaps one step further."""
    await node.stop()
    await node.database.open()

    async def unit(tx: Transaction) -> None:
        await tx.execute("UPDATE process SET state = 'running'")
        if new_step is not None:
            await tx.execute(
                "INSERT INTO step (process_id, key, kind, name, digest, status, attempt, large,"
                " size, input_changed, created_at, duration, tokens_in, tokens_out, cost)"
                " SELECT pid, ?, 'step', 'x', '', 'completed', 1, ?, 0, ?, 0, 0, 0, 0, 0"
                " FROM process",
                (new_step, False, False),
            )

    await node.database.write(unit)
    await node.database.close()


async def stuck(mission: Mission) -> str:
    await asyncio.sleep(3600)
    return mission.message


async def test_process_that_servers_die_under_is_blocked_and_resumed_on_demand(
    start_node: Any, send: Any, ann: Any
) -> None:
    node = await start_node(stuck, shutdown_seconds=0)
    pid = (await send(node, wait=None)).pid
    for _ in range(3):
        await crash(node)
        node = await start_node(stuck, shutdown_seconds=0)
        assert not (await node.tower.get(ann, pid)).settled
    await crash(node)
    node = await start_node(stuck, shutdown_seconds=0)
    process = await node.tower.get(ann, pid)
    assert (process.state, process.reason) == (ProcessState.BLOCKED, "crashed_repeatedly")
    await node.stop()
    node = await start_node(stuck, shutdown_seconds=0)  # not by itself
    assert (await node.tower.get(ann, pid)).state is ProcessState.BLOCKED
    assert not (await node.tower.resume_process(ann, pid)).settled
    await crash(node)
    node = await start_node(stuck, shutdown_seconds=0)
    assert (await node.tower.get(ann, pid)).state is ProcessState.BLOCKED  # once more, no oftener


async def test_process_that_gets_on_is_restarted_as_often_as_it_takes(
    start_node: Any, send: Any, ann: Any
) -> None:
    node = await start_node(stuck, shutdown_seconds=0, max_restarts=1)
    pid = (await send(node, wait=None)).pid
    for number in range(5):
        await crash(node, new_step=str(100 + number))
        node = await start_node(stuck, shutdown_seconds=0, max_restarts=1)
        assert not (await node.tower.get(ann, pid)).settled


async def test_process_that_was_parked_has_not_crashed(
    start_node: Any, send: Any, ann: Any
) -> None:
    begun = asyncio.Event()

    async def begins(mission: Mission) -> str:
        begun.set()
        return await stuck(mission)

    node = await start_node(begins, shutdown_seconds=0, max_restarts=0)
    pid = (await send(node, wait=None)).pid
    for _ in range(3):
        async with asyncio.timeout(10):
            await begun.wait()
        begun.clear()
        await node.stop()
        node = await start_node(begins, shutdown_seconds=0, max_restarts=0)
        assert not (await node.tower.get(ann, pid)).settled
