"""Quotas: each is checked before the call that would break it."""

from __future__ import annotations

from typing import Any

import pytest

from mission_system.core.errors import QuotaExceeded
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome

calls: list[str] = []


@tool
async def touch() -> None:
    """Count a call."""
    calls.append("touch")


def call() -> None:
    calls.append("step")


async def greedy(mission: Mission) -> str:
    """Uses what the message names until it is refused."""
    calls.clear()
    match mission.message:
        case "llm_calls":
            while True:
                await mission.llm().complete("x")
                calls.append("llm")
        case "tool_calls":
            while True:
                await mission.tools.touch()
        case "agent_hops":
            while True:
                async with mission.stage("s"):
                    calls.append("stage")
        case "iterations":
            async for _ in mission.rounds():
                calls.append("round")
        case "steps":
            while True:
                await mission.step("s", call)
        case "input_tokens":
            await mission.llm().complete("x" * 1000)
    return "unbounded"


@pytest.mark.parametrize(
    ("resource", "limit", "made"),
    [
        ("llm_calls", 3, 3),
        ("tool_calls", 4, 4),
        ("agent_hops", 5, 5),
        ("iterations", 2, 2),
        ("steps", 6, 6),
        ("input_tokens", 100, 0),
    ],
)
async def test_limit_ends_the_process_before_the_call_that_would_break_it(
    start_node, send, told, resource: str, limit: int, made: int
) -> None:
    node = await start_node(greedy, tools=[touch], quota={f"max_{resource}": limit})
    process = await send(node, resource)
    assert process.outcome is Outcome.FAILED
    assert process.reason == f"max_{resource}_exceeded"
    assert len(calls) == made
    events = await told(node, process)
    exhausted = [e.payload for e in events if e.type == "resource.exhausted"]
    assert exhausted[0]["resource"] == resource
    assert exhausted[0]["limit"] == limit


async def test_output_limit_is_passed_on_to_the_model(start_node, send) -> None:
    async def writes(mission: Mission) -> str:
        return (await mission.llm().complete("one two three four five six")).text

    node = await start_node(writes, quota={"max_output_tokens": 3})
    assert (await send(node)).reply == "You said: one t"


async def test_warning_comes_once_and_before_the_limit(start_node, send, ann, told) -> None:
    async def busy(mission: Mission) -> str:
        for _ in range(9):
            await mission.tools.touch()
        await mission.clarify("go on?")
        await mission.tools.touch()
        return "within limits"

    node = await start_node(busy, tools=[touch], quota={"max_tool_calls": 10})
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reply == "within limits"
    warnings = [e.payload for e in await told(node, process) if e.type == "resource.warning"]
    assert warnings == [{"resource": "tool_calls", "used": 8, "limit": 10}]


async def test_replayed_steps_cost_nothing(start_node, send, ann) -> None:
    async def asks(mission: Mission) -> str:
        async with mission.stage("s"):
            await mission.tools.touch()
            async for number in mission.rounds():
                if number == 2:
                    break
        await mission.clarify("go on?")
        return "ok"

    quota: dict[str, Any] = {
        "max_tool_calls": 1,
        "max_agent_hops": 1,
        "max_iterations": 2,
        "max_steps": 2,
    }
    node = await start_node(asks, tools=[touch], quota=quota)
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert (process.reply, process.error) == ("ok", None)
    assert (process.usage.tool_calls, process.usage.agent_hops, process.usage.steps) == (1, 1, 2)


async def test_orchestrator_may_answer_with_what_it_has(start_node, send) -> None:
    async def thrifty(mission: Mission) -> str:
        done = 0
        try:
            while True:
                await mission.tools.touch()
                done += 1
        except QuotaExceeded as error:
            return f"{done} of many ({error.reason})"

    node = await start_node(thrifty, tools=[touch], quota={"max_tool_calls": 2})
    assert (await send(node)).reply == "2 of many (max_tool_calls_exceeded)"
