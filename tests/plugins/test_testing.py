"""The testing kit: a plugin on trial is served as it would be, or the test says why not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mission_system.api.testing import PluginNotServed, trial
from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.tower.mission import Mission
from mission_system.plugins.hookspecs import hookimpl


async def answer(mission: Mission) -> str:
    return f"{mission.service('shop')}: {await mission.clarify('Which?')}"


def plugin(**hooks: Any) -> SimpleNamespace:
    @hookimpl
    def register_orchestrators() -> list[OrchestratorSpec]:
        return [OrchestratorSpec("shop", answer)]

    @hookimpl
    def register_services() -> dict[str, object]:
        return {"shop": "the north"}

    given = {
        "register_orchestrators": register_orchestrators,
        "register_services": register_services,
    }
    return SimpleNamespace(__name__="shop", **(given | hooks))


async def test_a_capability_asks_is_answered_and_replies() -> None:
    async with trial(plugin()) as server:
        process = await server.send("hi")
        assert process.pending is not None
        process = await server.answer(process, "tea")
        assert process.reply == "the north: tea"
        with pytest.raises(AssertionError, match="asks nothing: it is terminated"):
            await server.answer(process, "tea")


async def test_a_broken_plugin_fails_the_test_with_reason_and_fix() -> None:
    @hookimpl
    def register_tools() -> list[object]:
        return [answer]

    @hookimpl
    async def runtime_started() -> None:
        raise OSError("no disk")

    with pytest.raises(PluginNotServed, match="expected ToolSpec"):
        async with trial(plugin(register_tools=register_tools)):
            pass
    with pytest.raises(PluginNotServed, match="OSError: no disk"):
        async with trial(plugin(runtime_started=runtime_started)):
            pass
