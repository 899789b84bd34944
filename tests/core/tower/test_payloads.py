"""What events hold is what their documentation says, field by field."""

from __future__ import annotations

from typing import Any

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.events.types import TYPES
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Quota


@tool
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


async def child(mission: Mission) -> str:
    return mission.message


async def everything(mission: Mission) -> str:
    async with mission.stage("work"):
        await mission.tools.double(n=1)
        await mission.spawn("child", "hi")
        await mission.state.set("k", 1)
        await mission.llm().stream("a long question")
        await mission.emit("own", {"any": "thing"})
    await mission.clarify("Go on?")
    for _ in range(5):
        await mission.llm().complete("another")
    return "done"


async def test_payloads_hold_the_documented_fields(start_node: Any, send: Any, ann: Any) -> None:
    spec = OrchestratorSpec("everything", everything, quota=Quota(max_llm_calls=5))
    node = await start_node(spec, child, tools=[double])
    session = (await node.chat.create_session(ann)).session_id
    process = await send(node, session_id=session)
    assert process.pending is not None
    await node.tower.adjust_quota(ann, process.pid, max_steps=100)
    await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    second = await send(node, session_id=session)
    await node.tower.cancel_request(ann, second.pid)
    await send(node, session_id=session, capability="child")
    await node.chat.update_session(ann, session, title="new")
    await node.chat.edit_message(ann, process.message_id, "edited")
    await node.chat.delete_message(ann, process.message_id)
    await node.chat.delete_session(ann, session)
    events = await node.events.read(ann, session, limit=500)
    for event in events:
        if event.type == "everything.own":
            continue
        documented = TYPES[event.type]
        assert documented.required <= set(event.payload) <= documented.allowed, event
    never = {"llm.restarted", "interrupt.expired", "process.priority_changed", "breaker.changed"}
    assert set(TYPES) - {event.type for event in events} == never
