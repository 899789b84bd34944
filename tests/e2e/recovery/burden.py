"""The plugin that the servers of the chaos test serve.

Whatever has an effect leaves a line in a side file, which names its (pid, key): proof of what
really ran, and in which order. Replies tell what the journal gave back, so that they can be
foretold from the request.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mission_system import (
    LLMChunk,
    LLMReply,
    LLMRequest,
    Mission,
    OrchestratorSpec,
    PluginContext,
    Quota,
    Reply,
    ToolFailed,
    ToolSpec,
    hookimpl,
    tool,
)
from mission_system.core.llm.mock import MockProvider
from mission_system.core.llm.provider import LLMUsage
from mission_system.core.tools.call import idempotency_key

TRACE = Path("trace")  # below the server's working folder
TICK = 0.01


def note(key: str | None, what: str) -> None:
    """One write that appends: lines of a killed server are whole."""
    assert key is not None
    file = os.open(TRACE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{key} {what}\n".encode())
    finally:
        os.close(file)


class TracedProvider(MockProvider):
    """Repeats the message slowly, notes each call, and says by and by what that takes."""

    name = "traced"

    async def complete(self, request: LLMRequest) -> LLMReply:
        note(request.idempotency_key, "complete")
        return replace(await super().complete(request), model="echo")

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        note(request.idempotency_key, "stream")
        words = 0
        async for chunk in super().stream(request):
            words += 1
            yield replace(chunk, usage=chunk.usage or LLMUsage(1, words), model="echo")


@tool
async def square(number: int) -> int:
    """Take a moment."""
    note(idempotency_key(), f"start {number}")
    await asyncio.sleep(TICK * number)
    note(idempotency_key(), f"end {number}")
    return number * number


@tool
def thread(number: int) -> int:
    """The same on a thread."""
    note(idempotency_key(), f"thread {number}")
    return -number


@tool(risk="write")
async def spend(amount: int) -> int:
    """Something that must not happen twice by itself."""
    note(idempotency_key(), f"start spending {amount}")
    await asyncio.sleep(TICK)
    note(idempotency_key(), f"end spending {amount}")
    return amount


@tool
async def broken() -> None:
    """Fails."""
    note(idempotency_key(), "broken")
    raise ValueError("broken")


async def steps(mission: Mission) -> str:
    parts = []
    for number in range(1, 6):
        async with mission.stage(f"stage {number}"):
            parts.append(await mission.tools.square(number=number))
    parts.append(await mission.tools.thread(number=6))
    return f"{parts} {mission.message}"


async def streamed(mission: Mission) -> Reply:
    one = await mission.tools.square(number=1)
    said = await mission.llm("writer").stream(mission.message)
    return Reply(f"{one} {said.text}", {"words": said.text.count(" ")})


async def branches(mission: Mission) -> str:
    async def branch(number: int) -> int:
        first: int = await mission.tools.square(number=number)
        second: int = await mission.tools.square(number=2)
        return first + second

    parts = await mission.gather(*(branch(number) for number in (3, 1, 2)))
    return f"{parts} {mission.message}"


async def asks(mission: Mission) -> str:
    first = await mission.tools.square(number=1)
    colour = await mission.clarify(f"Which colour, {mission.message}?", options=["blue", "red"])
    second = await mission.tools.square(number=2)
    return f"{first} {colour} {second} {mission.message}"


async def asks_twice(mission: Mission) -> str:
    async def branch() -> int:
        squared: int = await mission.tools.square(number=2)
        return squared

    parts = await mission.gather(
        mission.clarify("Which colour?", options=["blue", "red"]),
        branch(),
        mission.confirm("Sure?"),
    )
    return f"{parts} {mission.message}"


async def spends(mission: Mission) -> str:
    spent = await mission.tools.spend(amount=7)
    return f"{spent} {mission.message}"


async def family(mission: Mission) -> str:
    first = await mission.tools.square(number=1)
    replies = await mission.gather(
        mission.spawn("streamed", mission.message),
        mission.spawn("asks", mission.message),
        mission.spawn("parent", mission.message),
    )
    return f"{first} {[reply.text for reply in replies]} {mission.message}"


async def parent(mission: Mission) -> str:
    reply = await mission.spawn("steps", mission.message)
    return f"{await mission.tools.square(number=2)} {reply.text}"


async def fails(mission: Mission) -> str:
    try:
        await mission.tools.broken()
    except ToolFailed:
        await mission.tools.square(number=1)
    await mission.tools.broken()
    return "never"


async def long(mission: Mission) -> str:
    for _ in range(40):
        await mission.tools.square(number=5)
    return "long"


async def patient(mission: Mission) -> str:
    return await mission.clarify("Leave this open.")


CAPABILITIES = (
    steps,
    streamed,
    branches,
    asks,
    asks_twice,
    spends,
    family,
    parent,
    fails,
    long,
    patient,
)


@hookimpl
def register_tools(context: PluginContext) -> list[ToolSpec]:
    return [square, thread, spend, broken]


@hookimpl
def register_llm_providers(context: PluginContext) -> Mapping[str, Any]:
    return {"traced": lambda settings: TracedProvider(chunk_delay=TICK)}


# What is cut short is charged each time, and children have a part of it only: enough for any kills.
PLENTY = Quota(max_llm_calls=9999, max_tool_calls=9999, max_agent_hops=9999, max_steps=9999)


@hookimpl
def register_orchestrators(context: PluginContext) -> list[OrchestratorSpec]:
    return [OrchestratorSpec(each.__name__, each, quota=PLENTY) for each in CAPABILITIES]
