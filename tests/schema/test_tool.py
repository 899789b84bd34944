"""Tools and configs: what there is to work with, and nothing that should stay hidden."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

from mission_system import hookimpl, tool
from mission_system.core.settings import Settings
from mission_system.plugins.builtin import assistant
from mission_system.plugins.host import PluginHost
from mission_system.plugins.loader import load_plugins
from mission_system.schema.node import global_id

from .conftest import Client, Json

SECRETS = ("hunter2", "sk-live", "postgres://u:pw@h", "gh-token", "swordfish", "4711")


class Mode(Enum):
    FAST = "fast"


@dataclass
class Retry:
    attempts: int = 3
    token: int = 4711


class Acme(BaseModel):
    url: str = SECRETS[2]
    password: SecretStr = SecretStr(SECRETS[0])
    api_key: str = SECRETS[1]
    apiKey: str = SECRETS[1]  # noqa: N815
    model: Literal["small", "large"] = "large"
    mode: Mode = Mode.FAST
    max_tokens: int = Field(default=100, description="The most that a reply may have.")
    ratio: float = 0.5
    on: bool = True
    nothing: str | None = None
    headers: dict[str, str] = {"Authorization": SECRETS[3]}
    retry: Retry = Retry()


@dataclass
class Plain:
    name: str = SECRETS[4]
    size: int = 2
    inner: Retry = field(default_factory=Retry)


class Opaque:
    secret = SECRETS[0]

    def __repr__(self) -> str:
        return SECRETS[0]


@tool(risk="write", timeout=7)
async def write_note(text: str, copies: int = 1) -> str:
    """Keep a note."""
    return text * copies


@tool(idempotent=True)
def look(at: str) -> str:
    """Look at something."""
    return at


@pytest.fixture
def plugins(settings: Settings) -> PluginHost:
    module = ModuleType("acme")

    @hookimpl
    def register_tools() -> Any:
        return [write_note, look]

    @hookimpl
    def register_configs() -> Any:
        configs = {"acme": Acme(), "plain": Plain(), "opaque": Opaque()}
        return configs | {"mapped": {"size": 1, "word": SECRETS[0], 3: SECRETS[0]}}

    module.__dict__.update(register_tools=register_tools, register_configs=register_configs)
    return load_plugins(settings, [assistant, module], entry_points=False)


TOOL = "id name description risk timeoutSeconds isIdempotent parameters plugin { name tools }"
CONFIGS = (
    "{ configs { id name type plugin { name } fields { name type description value isHidden } } }"
)


async def test_tools_are_shown_with_what_it_takes_to_call_them(client: Client) -> None:
    tools = (await client.data(f"{{ tools {{ {TOOL} }} }}"))["tools"]
    assert [each["name"] for each in tools] == ["look", "write_note"]
    shown = tools[1]
    assert (shown["description"], shown["risk"], shown["timeoutSeconds"]) == (
        "Keep a note.",
        "WRITE",
        7,
    )
    assert (tools[0]["isIdempotent"], shown["isIdempotent"]) == (True, False)
    assert shown["parameters"]["required"] == ["text"]
    assert shown["parameters"]["properties"]["copies"]["default"] == 1
    assert shown["plugin"] == {"name": "acme", "tools": ["write_note", "look"]}
    one = f"query T($id: ID!) {{ tool(id: $id) {{ {TOOL} }} }}"
    for id in (shown["id"], "write_note"):
        assert (await client.data(one, id=id))["tool"] == shown
    for id in ("none", "", "\0", global_id("Config", "acme")):
        assert (await client.error(one, id=id))["extensions"] == {"code": "NOT_FOUND"}


async def fields_of(client: Client) -> dict[str, dict[str, Json]]:
    configs = (await client.data(CONFIGS))["configs"]
    return {each["name"]: {f["name"]: f for f in each["fields"]} for each in configs}


async def test_configs_are_shown_by_name_with_type_and_plugin(client: Client) -> None:
    configs = (await client.data(CONFIGS))["configs"]
    assert [each["name"] for each in configs] == ["acme", "mapped", "opaque", "plain"]
    assert configs[0]["type"].endswith(".Acme")
    assert {each["plugin"]["name"] for each in configs} == {"acme"}
    fields = await fields_of(client)
    assert fields["acme"]["max_tokens"]["description"] == "The most that a reply may have."
    assert fields["acme"]["max_tokens"]["type"] == "int"
    assert fields["opaque"] == {}


async def test_values_are_shown_that_cannot_be_a_secret(client: Client) -> None:
    fields = await fields_of(client)
    shown = {
        f"{config}.{name}": each["value"]
        for config, found in fields.items()
        for name, each in found.items()
        if not each["isHidden"]
    }
    assert shown == {
        "acme.model": "large",
        "acme.mode": "FAST",
        "acme.max_tokens": 100,
        "acme.ratio": 0.5,
        "acme.on": True,
        "acme.nothing": None,
        "acme.retry.attempts": 3,
        "mapped.size": 1,
        "plain.size": 2,
        "plain.inner.attempts": 3,
    }


async def test_nothing_that_may_be_a_secret_is_shown(client: Client) -> None:
    answer = json.dumps(await client.data(CONFIGS))
    assert [secret for secret in SECRETS if secret in answer] == []
    fields = await fields_of(client)
    hidden = {name for name, each in fields["acme"].items() if each["isHidden"]}
    assert hidden == {"url", "password", "api_key", "apiKey", "headers", "retry.token"}
    assert fields["acme"]["password"]["value"] is None
    assert set(fields["mapped"]) == {"size", "word"}


async def test_a_config_within_itself_comes_to_an_end(client: Client) -> None:
    @dataclass
    class Loop:
        depth: int = 1
        inner: Any = None

    loop = Loop()
    loop.inner = loop
    client.node.runtime.config_registry.register("loop", loop)
    assert len((await fields_of(client))["loop"]) == 6
