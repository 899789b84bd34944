"""A real node on a folder of its own, serving orchestrators that a test brings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from mission_system.core.capabilities import CapabilityRegistry, Orchestrator, OrchestratorSpec
from mission_system.core.node import Node
from mission_system.core.runtime import MissionRuntime, create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.spec import ToolSpec


class StartNode(Protocol):
    async def __call__(
        self,
        *orchestrators: Orchestrator | OrchestratorSpec,
        tools: Iterable[ToolSpec] = (),
        folder: str = "data",
        prepare: Callable[[MissionRuntime], None] | None = None,
        **settings: Any,
    ) -> Node: ...


@pytest.fixture
def leap() -> Callable[[float], None]:
    """Lets so many seconds pass at once: what the event loop has timed for them happens now."""
    skipped = 0.0

    def leap(seconds: float) -> None:
        nonlocal skipped
        loop = asyncio.get_running_loop()
        if not skipped:
            real = loop.time
            loop.time = lambda: real() + skipped  # type: ignore[method-assign]
        skipped += seconds

    return leap


@pytest.fixture
async def start_node(tmp_path: Path) -> AsyncIterator[StartNode]:
    """Starts nodes; a function is served under its own name. All are stopped after the test."""
    async with AsyncExitStack() as stack:

        async def start(
            *orchestrators: Orchestrator | OrchestratorSpec,
            tools: Iterable[ToolSpec] = (),
            folder: str = "data",
            prepare: Callable[[MissionRuntime], None] | None = None,
            **settings: Any,
        ) -> Node:
            catalog = ToolCatalog()
            for spec in tools:
                catalog.register(spec)
            defaults: dict[str, Any] = {"data": tmp_path / folder, "shutdown_seconds": 0.2}
            runtime = create_mission_runtime(
                catalog, settings=Settings(**defaults | settings), use_mock=True
            )
            if prepare is not None:
                prepare(runtime)
            specs = tuple(
                item
                if isinstance(item, OrchestratorSpec)
                else OrchestratorSpec(item.__name__, item)  # type: ignore[attr-defined]
                for item in orchestrators
            )
            node = Node(runtime, CapabilityRegistry(specs, specs[0].name if specs else None))
            return await stack.enter_async_context(node)

        yield start
