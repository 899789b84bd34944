"""`submitRequest`: a message with a context, in a session that need not be there."""

from __future__ import annotations

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.node import Node
from mission_system.core.tower.mission import Mission

from .conftest import Client, Json

SUBMIT = """
mutation Submit($input: SubmitRequestInput!) {
  submitRequest(input: $input) {
    __typename
    ... on SubmitRequestPayload {
      process { pid requestId sessionId capability reply state priority }
      userMessage { content } reply { content } session { sessionId }
    }
    ... on Error { code message }
    ... on InvalidInput { field }
  }
}
"""


async def told(mission: Mission) -> str:
    return f"told {mission.context.get('colour')}"


@pytest.fixture(autouse=True)
def capability(node: Node) -> None:
    node.capabilities.register(OrchestratorSpec("told", told))


async def submit(client: Client, **given: object) -> Json:
    data = await client.data(SUBMIT, input={"text": "hi", **given})
    result: Json = data["submitRequest"]
    return result


async def test_a_context_reaches_the_capability_and_may_choose_it(client: Client) -> None:
    for given in (
        {"capability": "told", "context": {"colour": "red"}},
        {"context": {"colour": "red", "capability": "told"}},
        {"capability": "told", "context": {"colour": "red", "capability": "assistant"}},
    ):
        result = await submit(client, **given)
        assert result["process"]["reply"] == result["reply"]["content"] == "told red"
        assert result["userMessage"]["content"] == "hi"


async def test_a_session_that_is_not_there_is_made_and_used_again(client: Client) -> None:
    assert (await submit(client))["session"]["sessionId"] == "session_local"
    assert (await submit(client))["session"]["sessionId"] == "session_local"
    assert (await submit(client, sessionId="mine"))["session"]["sessionId"] == "mine"
    bobs = await submit(client.called("bob"), sessionId="mine")
    assert bobs["session"]["sessionId"] == "mine"
    count = "query C($id: ID!) { session(id: $id) { messageCount } }"
    assert (await client.data(count, id="mine"))["session"]["messageCount"] == 2
    assert (await client.data(count, id="session_local"))["session"]["messageCount"] == 4


async def test_a_request_is_named_by_its_field_or_its_context(client: Client) -> None:
    assert (await submit(client, requestId="one"))["process"]["requestId"] == "one"
    named = await submit(client, context={"request_id": "two"})
    assert named["process"]["requestId"] == "two"
    assert (await submit(client, requestId="two"))["__typename"] == "Conflict"


async def test_a_key_makes_it_safe_to_send_again(client: Client) -> None:
    first = await submit(client, idempotencyKey="k")
    again = await submit(client, idempotencyKey="k")
    assert again["process"] == first["process"]
    assert (await submit(client, text="other", idempotencyKey="k"))["__typename"] == "Conflict"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"text": ""}, "text"),
        ({"text": "x" * 10_001}, "text"),
        ({"context": [1]}, "context"),
        ({"context": "text"}, "context"),
        ({"context": {"x": "é" * 40_000}}, "context"),
        ({"context": {"capability": 1}}, "context.capability"),
        ({"context": {"request_id": "x" * 256}}, "context.request_id"),
        ({"capability": "nobody"}, "capability"),
        ({"idempotencyKey": "k", "context": {"request_id": "r"}}, "idempotencyKey"),
        ({"waitSeconds": 0}, "waitSeconds"),
    ],
)
async def test_what_does_not_validate_is_named_and_stores_nothing(
    client: Client, given: Json, field: str
) -> None:
    result = await submit(client, **given)
    assert (result["__typename"], result["field"]) == ("InvalidInput", field), result
    assert (await client.data("{ sessions { nodes { id } } }"))["sessions"]["nodes"] == []


async def test_it_need_not_be_waited_for_and_takes_its_place_in_line(client: Client) -> None:
    result = await submit(client, wait=False, priority="LOW", conversationHistory=[{"a": 1}, "b"])
    assert result["process"]["priority"] == "LOW"
    assert result["process"]["state"] in ("NEW", "READY", "RUNNING", "TERMINATED")
