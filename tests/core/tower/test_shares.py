"""What children may use: a part of what their parent may."""

from __future__ import annotations

from typing import Any

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.identity import Caller
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Quota


async def test_child_takes_no_more_for_one_call_than_its_parent_and_asks_only_where_that_does(
    start_node, send
) -> None:
    async def calls(mission: Mission) -> str:
        for _ in range(3):
            await mission.llm().complete("hello")
        return "done"

    async def parent(mission: Mission) -> str:
        return (await mission.spawn("calls", "go")).text

    limits: dict[str, Any] = {
        "max_input_tokens": 100,
        "max_output_tokens": 90,
        "max_context_tokens": 300,
    }
    node = await start_node(
        OrchestratorSpec("parent", parent, quota=Quota(max_llm_calls=2, **limits)),
        OrchestratorSpec("calls", calls, quota=Quota(max_llm_calls=10, on_exhausted="ask")),
    )
    process = await send(node)
    child = (await node.tower.list_processes(Caller("ann"))).items[0]
    assert (process.interrupts, child.reason) == ((), "max_llm_calls_exceeded")
    assert process.usage.llm_calls == 2
    quota = child.quota.model_dump()
    assert {name: quota[name] for name in limits} == limits
