"""The plugin that the servers of these tests serve, beside their own."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

from mission_system import Mission, OrchestratorSpec, PluginContext, Reply, ToolSpec, hookimpl, tool


@tool()
def forever() -> None:
    """Never returns."""
    time.sleep(3600)


async def guess(mission: Mission) -> str:
    async with mission.stage("think"):
        topic = await mission.clarify("Which topic?", options=["billing", "setup"])
    return f"About {topic}."


async def erase(mission: Mission) -> str:
    return "Erased." if await mission.confirm("Erase everything?") else "Kept."


async def boss(mission: Mission) -> Reply:
    return await mission.spawn("guess", mission.message)


async def hang(mission: Mission) -> None:
    async with mission.stage("hang"):
        await asyncio.Event().wait()


async def deaf(mission: Mission) -> None:
    async with mission.stage("deaf"):
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


async def stuck(mission: Mission) -> None:
    async with mission.stage("stuck"):
        await mission.tools.forever()


async def crash(mission: Mission) -> None:
    raise RuntimeError("secret detail")


async def write(mission: Mission) -> Reply:
    async with mission.stage("write"):
        return await mission.llm().stream(mission.message)


async def looks(mission: Mission) -> str:
    """Writes all the time until there is a file `go`."""
    while not await mission.step("look", Path("go").exists):
        await asyncio.sleep(0.2)
    return f"looks: {mission.message}"


async def works(mission: Mission) -> str:
    """Writes nothing until there is a file `go`."""
    while not Path("go").exists():
        await asyncio.sleep(0.05)
    return f"works: {mission.message}"


async def escape(mission: Mission) -> str:
    return "safe\x1b[31m\x07 text"


@hookimpl
def register_tools(context: PluginContext) -> list[ToolSpec]:
    return [forever]


@hookimpl
def register_orchestrators(context: PluginContext) -> list[OrchestratorSpec]:
    functions = [guess, erase, boss, hang, deaf, stuck, crash, write, looks, works, escape]
    return [OrchestratorSpec(f.__name__, f) for f in functions]
