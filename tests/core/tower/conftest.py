"""Short ways to send a message to a node, shared by the tower's tests."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from mission_system.core.events.event import Event
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.tower.process import Envelope, ProcessControlBlock

ANN = Caller("ann")


class Send(Protocol):
    async def __call__(
        self, node: Node, message: str = "hi", *, wait: float | None = 10, **envelope: Any
    ) -> ProcessControlBlock: ...


@pytest.fixture
def ann() -> Caller:
    return ANN


@pytest.fixture
def send() -> Send:
    """Sends as Ann and waits for the process to settle."""

    async def send(
        node: Node, message: str = "hi", *, wait: float | None = 10, **envelope: Any
    ) -> ProcessControlBlock:
        request = Envelope(**{"caller": ANN, "message": message} | envelope)
        process = (await node.tower.submit_request(request, wait=wait)).process
        assert process is not None
        return process

    return send


async def story(node: Node, process: ProcessControlBlock) -> list[Event]:
    """Every event of an ended process."""
    return [event async for event in node.events.follow_process(ANN, process.pid)]


@pytest.fixture
def told() -> Any:
    return story
