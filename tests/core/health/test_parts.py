"""A node's own parts: each is seen to fail where it fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mission_system.core.health import parts
from mission_system.core.health.result import ComponentHealth
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope


async def waits(mission: Mission) -> str:
    await asyncio.Event().wait()
    return "never"


@pytest.fixture
async def node(start_node: Any) -> Node:
    started: Node = await start_node(waits, running_slots=1, max_ready=1)
    return started


async def looked_at(node: Node, name: str) -> ComponentHealth:
    return (await node.health.check_readiness()).components[name]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mission_system.core.health.checker.FRESH_SECONDS", 0.0)


@pytest.mark.parametrize("name", ["schema", "writer", "hub", "dispatcher"])
async def test_a_part_that_works_is_up(node: Node, name: str) -> None:
    assert (await looked_at(node, name)).status == "up"


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE tortoise_migrations SET name = '9999_future'", "newer version"),
        ("DELETE FROM tortoise_migrations", "lacks a change of this version: 0001_initial"),
        ("DROP TABLE tortoise_migrations", "the check failed"),
        ("DROP TABLE system_usage", "the database lacks table system_usage"),
        ("ALTER TABLE session RENAME COLUMN title TO name", "lacks column session.title"),
    ],
)
async def test_another_schema_than_this_versions_is_down(node: Node, sql: str, says: str) -> None:
    async def unit(tx: Transaction) -> None:
        await tx.execute(sql)

    await node.database.write(unit)
    found = await looked_at(node, "schema")
    assert found.status == "down"
    assert says in str(found.message)


async def test_a_writer_that_lags_is_degraded(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LAG_SECONDS", 0.0)
    assert (await looked_at(node, "writer")).status == "degraded"


async def test_a_hub_that_carries_nothing_is_down(node: Node) -> None:
    await node._hub.stop()
    checker = node.health
    checker._timeouts["hub"] = 0.05
    found = await looked_at(node, "hub")
    assert (found.status, found.message) == ("down", "no answer within 0.05 s")


async def test_a_full_line_degrades_the_dispatcher(node: Node) -> None:
    for session in ("a", "b"):
        await node.tower.submit_request(
            Envelope(caller=Caller("ann"), message="hi", session_id=session, create_session=True)
        )
    found = await looked_at(node, "dispatcher")
    assert (found.status, found.message) == ("degraded", "the line is full: 1 wait, 1 run")


async def test_a_task_of_the_tower_that_is_gone_is_down(node: Node) -> None:
    task = node.tower.upkeep.tasks["sweep"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found = await looked_at(node, "dispatcher")
    assert found.status == "down"
    assert "sweep" in str(found.message)
