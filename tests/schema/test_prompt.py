"""`prompts`: what administrators see of the texts that models are given."""

from __future__ import annotations

import pytest

from mission_system.core.node import Node
from mission_system.core.prompts import Prompt
from mission_system.core.settings import Settings

from .conftest import Client

PROMPTS = "{ prompts { name version text placeholders isUsed isOverridden } }"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"prompts": {"poet": 1, "writer": "Sing of $topic."}})


async def test_prompts_are_listed_with_the_versions_that_are_used(
    client: Client, node: Node
) -> None:
    for prompt in (
        Prompt("writer", "Write of $topic."),
        Prompt("poet", "Rhyme."),
        Prompt("poet", "Rhyme well.", version=2),
    ):
        node.runtime.prompts.register(prompt)
    listed = (await client.data(PROMPTS))["prompts"]
    assert [
        (p["name"], p["version"], p["text"], p["isUsed"], p["isOverridden"]) for p in listed
    ] == [
        ("poet", 2, "Rhyme well.", False, False),
        ("poet", 1, "Rhyme.", True, False),
        ("writer", 1, "Sing of $topic.", True, True),
    ]
    assert listed[2]["placeholders"] == ["topic"]


async def test_prompts_are_for_administrators(client: Client) -> None:
    error = await client.called("ann").error(PROMPTS)
    assert error["extensions"]["code"] == "FORBIDDEN"
