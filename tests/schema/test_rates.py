"""Rate limits, through GraphQL: who sends too often hears when to try again."""

from __future__ import annotations

from pathlib import Path

import pytest

from mission_system.core.settings import Settings

from .conftest import SEND, Client, Json

SEND_OFTEN = SEND.replace(
    "... on InvalidInput", "... on Busy { retryAfter }\n    ... on InvalidInput"
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, shutdown_seconds=0, rate_limits=("2/day",))


async def send(client: Client) -> Json:
    data = await client.data(SEND_OFTEN, input={"text": "hello"})
    payload: Json = data["sendMessage"]
    return payload


async def test_refusal_is_busy_with_the_time_until_there_is_room(client: Client) -> None:
    for _ in range(2):
        assert (await send(client))["__typename"] == "SendMessagePayload"
    refused = await send(client)
    assert (refused["__typename"], refused["code"]) == ("Busy", "BUSY")
    assert 86_400 - 600 < refused["retryAfter"] <= 86_400
    processes = await client.data("{ viewer { userId } processes { nodes { id } } }")
    assert len(processes["processes"]["nodes"]) == 2
    assert (await send(client.called("eve")))["__typename"] == "SendMessagePayload"
