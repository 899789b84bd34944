"""Quotas: each is checked before the call that would break it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.errors import QuotaExceeded
from mission_system.core.llm.provider import LLMChunk, LLMReply, LLMRequest, LLMUsage
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.branches import OutsideBranch
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Outcome, Quota

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


async def test_refused_call_takes_nothing_else_from_the_quota(start_node, send) -> None:
    async def tries(mission: Mission) -> str:
        await mission.tools.touch()
        for _ in range(3):
            with contextlib.suppress(QuotaExceeded):
                await mission.tools.touch()
        await mission.step("second", call)
        await mission.step("third", call)
        return "three steps"

    node = await start_node(tries, tools=[touch], quota={"max_tool_calls": 1, "max_steps": 3})
    process = await send(node)
    assert (process.reply, process.error) == ("three steps", None)
    assert (process.usage.steps, process.usage.tool_calls) == (3, 1)


async def test_capability_has_a_quota_of_its_own(start_node, send) -> None:
    quota = Quota(max_tool_calls=1)
    node = await start_node(OrchestratorSpec("greedy", greedy, quota=quota), tools=[touch])
    process = await send(node, "tool_calls")
    assert (process.reason, process.quota) == ("max_tool_calls_exceeded", quota)


async def test_running_time_of_earlier_runs_counts(start_node, send, ann, told) -> None:
    async def hangs(mission: Mission) -> str:
        await mission.clarify("go on?")
        await asyncio.Event().wait()
        return "never"

    node = await start_node(hangs)
    process = await send(node)
    await set_column(node, process, "elapsed", 299_990_000)
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=60)
    assert process.reason == "timeout_exceeded"
    assert process.usage.elapsed_seconds >= 300
    exhausted = [e.payload for e in await told(node, process) if e.type == "resource.exhausted"]
    assert [(each["resource"], each["limit"]) for each in exhausted] == [("seconds", 300)]


async def test_running_time_outlives_the_server(start_node, send, ann) -> None:
    async def works(mission: Mission) -> str:
        if mission.message == "first":
            await asyncio.sleep(0.1)
        await mission.clarify("go on?")
        return "done"

    node = await start_node(works)
    process = await send(node, "first")
    assert process.usage.elapsed_seconds >= 0.1
    await node.stop()
    node = await start_node(works)
    after = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert after.usage.elapsed_seconds >= process.usage.elapsed_seconds


async def test_waiting_time_is_not_charged(start_node, send, ann) -> None:
    async def asks(mission: Mission) -> str:
        return await mission.clarify("go on?")

    node = await start_node(asks)
    began = time.monotonic()
    process = await send(node)
    asked = time.monotonic()
    await asyncio.sleep(0.5)
    answered = time.monotonic()
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    waited, whole = answered - asked, time.monotonic() - began
    assert process.usage.elapsed_seconds <= whole - waited


async def test_soft_time_limit_warns_once(start_node, send, ann, told) -> None:
    async def slow(mission: Mission) -> str:
        await asyncio.sleep(0.02)
        await mission.clarify("go on?")
        await asyncio.sleep(0.02)
        return "late"

    node = await start_node(slow, quota={"soft_timeout_seconds": 0.001})
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reply == "late"
    warnings = [e.payload for e in await told(node, process) if e.type == "resource.warning"]
    assert warnings == [{"resource": "seconds", "used": 0.001, "limit": 300}]


async def test_exhaustion_is_told_once_however_often_it_is_replayed(
    start_node, send, ann, told
) -> None:
    async def tries(mission: Mission) -> str:
        for _ in range(3):
            with contextlib.suppress(QuotaExceeded):
                async with mission.stage("s"):
                    pass
        return await mission.clarify("go on?")

    node = await start_node(tries, quota={"max_agent_hops": 1})
    process = await send(node)
    process = await node.tower.resume_request(ann, process.pending.id, "yes", wait=10)
    assert process.reply == "yes"
    exhausted = [e for e in await told(node, process) if e.type == "resource.exhausted"]
    assert len(exhausted) == 1


@pytest.mark.parametrize(("length", "fits"), [(160, True), (164, False)])
async def test_prompt_and_reply_fit_the_context_together(
    start_node, send, length: int, fits: bool
) -> None:
    async def writes(mission: Mission) -> str:
        await mission.llm().complete("x" * length)
        return "fits"

    quota = {"max_context_tokens": 100, "max_output_tokens": 60}
    process = await send(await start_node(writes, quota=quota))
    assert process.reason == (None if fits else "max_context_tokens_exceeded")
    assert process.usage.llm_calls == fits


class Chatterbox:
    """A provider that does not mind its cap."""

    name = "chatterbox"

    async def complete(self, request: LLMRequest) -> LLMReply:
        return LLMReply("word " * 10_000, LLMUsage(5, 10_000))

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        while True:
            yield LLMChunk("word ")
            await asyncio.sleep(0)


@pytest.mark.parametrize("way", ["complete", "stream"])
async def test_provider_that_ignores_its_cap_is_cut_short(start_node, send, told, way: str) -> None:
    async def listens(mission: Mission) -> str:
        return (await getattr(mission.llm(), way)("talk")).text

    node = await start_node(listens, quota={"max_output_tokens": 10})
    object.__setattr__(node.runtime, "llm", lambda role: Chatterbox())
    process = await send(node)
    assert process.reply == ("word " * 100)[:160]
    if way == "stream":
        deltas = [e.payload["text"] for e in await told(node, process) if e.type == "llm.delta"]
        assert "".join(deltas) == process.reply


async def set_column(node, process, column: str, value: int | str) -> None:
    await node.database.write(
        lambda tx: tx.execute(
            f"UPDATE process SET {column} = ? WHERE pid = ?", (value, process.pid)
        )
    )


async def test_rounds_belong_to_a_branch_as_steps_do(start_node, send) -> None:
    async def work(mission: Mission) -> str:
        async def first() -> str:
            try:
                async for number in mission.rounds():
                    return str(number)
            except OutsideBranch as error:
                return error.message
            return "none"

        async def step() -> str:
            return (await first()).partition(",")[0]

        apart = await asyncio.create_task(first())
        return f"{await first()}; {apart.partition(',')[0]}; {await mission.step('own', step)}"

    process = await send(await start_node(work))
    assert process.reply == (
        "1; this task is not a branch of the mission; the mission was used inside step 'own'"
    )
