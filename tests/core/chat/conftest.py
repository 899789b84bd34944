"""A real node that answers every message with itself, unless a test brings something else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.events.event import Event
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope

ANN, BOB = Caller("ann"), Caller("bob")


async def echo(mission: Mission) -> str:
    return mission.message


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    runtime = create_mission_runtime(ToolCatalog(), settings=Settings(data=tmp_path), use_mock=True)
    async with Node(runtime, CapabilityRegistry((OrchestratorSpec("echo", echo),))) as node:
        yield node


async def say(node: Node, session: str, text: str) -> tuple[int, int]:
    """The ids of the message and of its reply."""
    request = Envelope(caller=ANN, message=text, session_id=session)
    process = (await node.tower.submit_request(request, wait=10)).process
    assert process is not None
    assert process.reply_message_id is not None
    return process.message_id, process.reply_message_id


async def told(node: Node, session: str, type: str) -> list[Event]:
    """The session's events of one type."""
    return [event for event in await node.events.read(ANN, session) if event.type == type]
