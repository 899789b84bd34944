"""A real node on a folder of its own, and GraphQL on top of it, without HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec, Reply
from mission_system.core.identity import LOCAL, Caller
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tower.mission import Mission
from mission_system.plugins.builtin import assistant
from mission_system.plugins.hookspecs import hookimpl
from mission_system.plugins.host import PluginHost
from mission_system.plugins.loader import load_plugins
from mission_system.schema.build import MissionSchema, build_schema
from mission_system.schema.context import Context

Json = dict[str, Any]


@dataclass
class Gate:
    """A capability that stays running until a test lets it go on."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, mission: Mission) -> Reply:
        self.reached.set()
        await self.opened.wait()
        return Reply("through the gate", {"asked": mission.message})


def plugin(*specs: OrchestratorSpec) -> ModuleType:
    """A plugin that brings these capabilities and nothing else."""
    module = ModuleType("test_capabilities")

    @hookimpl
    def register_orchestrators() -> Sequence[OrchestratorSpec]:
        return specs

    module.__dict__["register_orchestrators"] = register_orchestrators
    return module


@pytest.fixture(scope="session")
def schema() -> MissionSchema:
    return build_schema()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def plugins(settings: Settings, gate: Gate) -> PluginHost:
    brought = plugin(OrchestratorSpec("gate", gate.answer, description="Waits for a test."))
    return load_plugins(settings, [assistant, brought], entry_points=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, shutdown_seconds=0)


@pytest.fixture
async def node(settings: Settings, plugins: PluginHost) -> AsyncIterator[Node]:
    runtime = create_mission_runtime(
        plugins.tools, settings=settings, use_mock=True, config_registry=plugins.configs
    )
    capabilities = CapabilityRegistry(plugins.orchestrators, settings.default_capability)
    async with Node(runtime, capabilities) as node:
        yield node


@dataclass
class Client:
    """Executes operations as one caller."""

    schema: MissionSchema
    node: Node
    plugins: PluginHost
    caller: Caller = LOCAL

    @property
    def context(self) -> Context:
        return Context(self.node, self.caller, self.plugins)

    def called(self, user_id: str) -> Client:
        return Client(self.schema, self.node, self.plugins, Caller(user_id))

    async def execute(self, query: str, **variables: Any) -> tuple[Json | None, list[Json]]:
        """The data, and the errors in the form that clients get."""
        result = await self.schema.execute(
            query, variable_values=variables, context_value=self.context
        )
        return result.data, [dict(error.formatted) for error in result.errors or ()]

    async def data(self, query: str, **variables: Any) -> Json:
        data, errors = await self.execute(query, **variables)
        assert not errors, errors
        assert data is not None
        return data

    async def error(self, query: str, **variables: Any) -> Json:
        """The only error of an operation that must have one."""
        _, errors = await self.execute(query, **variables)
        assert len(errors) == 1, errors
        return errors[0]

    async def follow(self, query: str, **variables: Any) -> AsyncGenerator[Json, None]:
        """What a subscription delivers, as long as it delivers no error."""
        results = await self.schema.subscribe(
            query, variable_values=variables, context_value=self.context
        )
        async with aclosing(results):
            async for result in results:
                assert not result.errors, result.errors
                assert result.data is not None
                yield next(iter(result.data.values()))

    async def send(self, text: str, **given: Any) -> Json:
        """The payload of `sendMessage`, which must succeed."""
        data = await self.data(SEND, input={"text": text, **given})
        payload: Json = data["sendMessage"]
        assert payload["__typename"] == "SendMessagePayload", payload
        return payload


SEND = """
mutation Send($input: SendMessageInput!) {
  sendMessage(input: $input) {
    __typename
    ... on SendMessagePayload {
      process {
        id pid sessionId state outcome reason error reply
        interrupts { id interruptId kind question options }
      }
      userMessage { content role pid }
      reply { content role }
      session { sessionId lastCursor }
    }
    ... on Error { code message }
    ... on InvalidInput { field }
  }
}
"""


@pytest.fixture
def client(schema: MissionSchema, node: Node, plugins: PluginHost) -> Client:
    return Client(schema, node, plugins)
