"""A result that is larger than may be sent: an error in its place, over every transport."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mission_system.core.settings import Settings
from mission_system.web.app import create_app

from .conftest import RESPONSE, Connect, Http, Json, Server, started
from .test_socket import answers, operation
from .test_stream import read_events

TEXT = "x" * 3_000
PAGE = "query P($id: ID!) { session(id: $id) { messages { nodes { content } } } }"
FOLLOW = "subscription F($id: ID!) { processEvents(processId: $id) { type payload } }"
PLACES = "subscription F($id: ID!) { processEvents(processId: $id) { cursor } }"
SEND = """mutation { sendMessage(input: {text: "%s"}) {
  ... on SendMessagePayload { process { sessionId reply } userMessage { content } } } }"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = Settings(data=tmp_path, shutdown_seconds=0, max_response_bytes=4_096)
    async with started(create_app(settings)) as server:
        yield server


def check_oversize(payload: Json, *, executed: bool = False, cursor: str | None = None) -> None:
    assert payload["data"] is None
    [error] = payload["errors"]
    at = {} if cursor is None else {"cursor": cursor}
    assert error["extensions"] == {"code": "TOO_LARGE", **at}
    assert error["message"].startswith("The response has ")
    assert "the most is 4096" in error["message"]
    assert ("mutation" in error["message"]) is executed


async def test_a_result_that_is_too_large_is_an_error_and_a_part_of_it_is_not(http: Http) -> None:
    session = (await http.send(TEXT))["sessionId"]
    asked = {"query": PAGE, "variables": {"id": session}}
    for accept in ("application/json", RESPONSE):
        response = await http.post(asked, accept)
        assert response.status_code == 200
        check_oversize(response.json())
    less = PAGE.replace("messages", "messages(first: 1)")
    response = await http.post({"query": less, "variables": {"id": session}})
    assert len(response.json()["data"]["session"]["messages"]["nodes"][0]["content"]) == 3_000


async def test_a_mutation_has_taken_effect_and_says_so(http: Http) -> None:
    check_oversize((await http.post({"query": SEND % TEXT})).json(), executed=True)
    found = (await http.post({"query": "{ sessions { nodes { messageCount } } }"})).json()
    assert [node["messageCount"] for node in found["data"]["sessions"]["nodes"]] == [2]


async def test_its_cost_is_told_all_the_same(http: Http) -> None:
    session = (await http.send(TEXT))["sessionId"]
    asked = {"query": PAGE, "variables": {"id": session}, "extensions": {"cost": True}}
    body = (await http.post(asked)).json()
    check_oversize(body)
    assert body["extensions"]["cost"]["cost"] > 0


async def test_a_socket_goes_on_with_what_is_smaller(connected: Connect, http: Http) -> None:
    session = (await http.send(TEXT))["sessionId"]
    async with connected() as socket:
        result, end = await operation(socket, "q", PAGE, id=session)
        check_oversize(result["payload"])
        assert end["type"] == "complete"
        await answers(socket)


async def test_events_that_are_smaller_follow_one_that_is_too_large(http: Http) -> None:
    sent = await http.send("x" * 6_000, wait=False)
    events = [data for _, data in await read_events(http, FOLLOW, id=sent["pid"]) if data]
    places = [data for _, data in await read_events(http, PLACES, id=sent["pid"]) if data]
    large = [
        (event, place["data"]["processEvents"]["cursor"])
        for event, place in zip(events, places, strict=True)
        if event["data"] is None
    ]
    assert 0 < len(large) < len(events)
    for event, cursor in large:
        check_oversize(event, cursor=cursor)
    assert events[-1]["data"]["processEvents"]["type"] == "process.completed"
