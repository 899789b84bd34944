"""The bundle of primitives that a capability is built from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mission_system.api import MissionRuntime, create_mission_runtime
from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.configs import ConfigRegistry, Configs
from mission_system.core.identity import LOCAL
from mission_system.core.llm.factory import LLMFactory
from mission_system.core.llm.provider import LLMProvider
from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.core.storage.persistence import Persistence
from mission_system.core.storage.sqlite.database import SqliteDatabase
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.decorator import tool
from mission_system.core.tools.spec import ToolExecutor, ToolRegistry, ToolSpec, ToolStatus
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Envelope


@tool
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


def test_mock_runtime_has_a_provider_and_no_factory() -> None:
    runtime = create_mission_runtime(ToolCatalog(), use_mock=True)
    assert isinstance(runtime, MissionRuntime)
    assert runtime.llm_provider_factory is None
    assert isinstance(runtime.mock_provider, LLMProvider)
    assert runtime.llm("writer") is runtime.mock_provider


def test_runtime_without_mock_has_a_factory_and_no_provider() -> None:
    runtime = create_mission_runtime(ToolCatalog(), settings=Settings())
    assert isinstance(runtime.llm_provider_factory, LLMFactory)
    assert runtime.mock_provider is None


def test_runtime_is_made_by_hand_from_its_documented_fields() -> None:
    made = create_mission_runtime(ToolCatalog(), use_mock=True)
    by_hand = MissionRuntime(
        persistence=made.persistence,
        tool_executor=made.tool_executor,
        settings=made.settings,
        config_registry=made.config_registry,
        mock_provider=made.mock_provider,
    )
    assert by_hand.llm_provider_factory is None
    assert list(by_hand.tool_registry) == []


def test_parts_fulfil_their_public_protocols() -> None:
    runtime = create_mission_runtime(ToolCatalog(), use_mock=True)
    assert isinstance(runtime.persistence, Persistence)
    assert isinstance(runtime.tool_executor, ToolExecutor)
    assert isinstance(runtime.config_registry, ConfigRegistry)
    assert isinstance(runtime.tool_registry, ToolRegistry)


def test_registered_config_is_found_and_a_missing_one_names_the_choices() -> None:
    runtime = create_mission_runtime(ToolCatalog(), use_mock=True)
    config = object()
    runtime.config_registry.register("language_config", config)
    assert runtime.config_registry.get("language_config") is config
    with pytest.raises(KeyError, match="language_config"):
        runtime.config_registry.get("lang")
    with pytest.raises(ValueError, match="language_config"):
        runtime.config_registry.register("language_config", 1)


class OwnRegistry:
    """A caller's own registry: two methods are enough."""

    def get(self, name: str) -> ToolSpec | None:
        return double if name == "double" else None

    def __iter__(self) -> Any:
        return iter([double])


class OwnPersistence:
    """A caller's own persistence, here one that counts what passes through."""

    def __init__(self, folder: Path) -> None:
        self.inner = SqliteDatabase(folder)
        self.units = 0
        self.open = self.inner.open
        self.close = self.inner.close
        self.fetch_one = self.inner.fetch_one
        self.fetch_all = self.inner.fetch_all
        self.units_ended = self.inner.units_ended

    async def write(self, unit: Any) -> Any:
        self.units += 1
        return await self.inner.write(unit)


async def test_callers_own_persistence_registry_and_configs_are_used(tmp_path: Path) -> None:
    async def work(mission: Mission) -> str:
        return str(await mission.tools.double(n=mission.config("number")))

    own, configs = OwnPersistence(tmp_path), Configs()
    configs.register("number", 21)
    runtime = create_mission_runtime(OwnRegistry(), own, use_mock=True, config_registry=configs)
    assert runtime.persistence is own
    async with Node(runtime, CapabilityRegistry((OrchestratorSpec("work", work),))) as node:
        done = await node.tower.submit_request(Envelope(caller=LOCAL, message="go"), wait=10)
    assert done.process is not None
    assert done.process.reply == "42"
    assert own.units >= 2


async def test_executor_works_without_a_server() -> None:
    runtime = create_mission_runtime(OwnRegistry(), use_mock=True)
    result = await runtime.tool_executor.execute("double", {"n": 4})
    assert (result.status, result.value) == (ToolStatus.SUCCESS, 8)


async def test_tool_called_outside_a_process_is_recorded_without_a_pid(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    runtime = create_mission_runtime(OwnRegistry(), settings=settings, use_mock=True)
    async with Node(runtime, CapabilityRegistry()):
        await runtime.tool_executor.execute("double", {"n": 4})
        await runtime.tool_executor.execute("double", {"n": "four"})
        rows = await runtime.persistence.fetch_all(
            "SELECT process_id, name, status FROM step ORDER BY id"
        )
    assert [(row["process_id"], row["name"], row["status"]) for row in rows] == [
        (None, "double", "completed"),
        (None, "double", "failed"),
    ]


async def test_two_nodes_in_one_process_know_nothing_of_each_other(tmp_path: Path) -> None:
    async def work(mission: Mission) -> str:
        return mission.message

    def node(name: str) -> Node:
        settings = Settings(data=tmp_path / name)
        runtime = create_mission_runtime(ToolCatalog(), settings=settings, use_mock=True)
        return Node(runtime, CapabilityRegistry((OrchestratorSpec("work", work),)))

    async with node("a") as a, node("b") as b:
        request = Envelope(caller=LOCAL, message="only in a")
        assert (await a.tower.submit_request(request, wait=10)).process is not None
        assert len((await a.chat.list_sessions(LOCAL)).items) == 1
        assert (await b.chat.list_sessions(LOCAL)).items == ()


def test_storage_that_counts_as_false_is_used_all_the_same(tmp_path: Path) -> None:
    class Empty(SqliteDatabase):
        def __len__(self) -> int:
            return 0

    mine = Empty(tmp_path)
    assert create_mission_runtime(ToolCatalog(), mine).persistence is mine
