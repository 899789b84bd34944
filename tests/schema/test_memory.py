"""Working memory: visible to whom the session belongs."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.memory.working import MAX_KEYS, store_values
from mission_system.core.node import Node
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tower.mission import Mission

from .conftest import Client, Json

STATE = """
query State($id: ID!) {
  session(id: $id) { workingState { capability key value updatedAt } }
}
"""


async def test_working_state_is_shown_with_its_capability_and_time(client: Client) -> None:
    sent = await client.send("hi")
    session = sent["session"]["sessionId"]

    async def fill(tx: Transaction) -> None:
        row = await tx.fetch_one("SELECT id FROM session WHERE public_id = ?", (session,))
        assert row is not None
        await store_values(tx, row["id"], "b", {"k": '{"x": [1, null]}'}, 1_500_000)
        await store_values(tx, row["id"], "a", {"y": "1", "x": '"text"'}, 0)

    await client.node.database.write(fill)
    entries = (await client.data(STATE, id=session))["session"]["workingState"]
    assert [(entry["capability"], entry["key"], entry["value"]) for entry in entries] == [
        ("a", "x", "text"),
        ("a", "y", 1),
        ("b", "k", {"x": [1, None]}),
    ]
    assert entries[2]["updatedAt"] == "1970-01-01T00:00:01.500000+00:00"


async def test_working_state_of_another_user_is_not_found(client: Client) -> None:
    session = (await client.send("hi"))["session"]["sessionId"]
    error = await client.called("bob").error(STATE, id=session)
    assert error["extensions"]["code"] == "NOT_FOUND"


SET = """
mutation Set($input: SetMemoryInput!) {
  setMemory(input: $input) {
    __typename
    ... on SetMemoryPayload { entry { capability key value updatedAt } }
    ... on Error { code message }
    ... on InvalidInput { field }
    ... on QuotaExceeded { reason }
  }
}
"""
MEMORY = """
query Memory($id: ID!, $of: String) {
  memory(sessionId: $id, capability: $of) { capability key value }
}
"""


class Wishes(BaseModel):
    tone: Annotated[str, Field(max_length=5)] = "plain"
    count: int = 0
    places: list[dict[str, int]] = []


async def recall(mission: Mission) -> str:
    return f"{await mission.state.get('tone')} {await mission.state.get('count')}"


@pytest.fixture
async def session(client: Client, node: Node) -> str:
    """A session of a capability that declares what it keeps."""
    node.capabilities.register(OrchestratorSpec("recall", recall, state=Wishes))
    return (await node.chat.create_session(client.caller, capability="recall")).session_id


async def set_(client: Client, session: str, **given: object) -> Json:
    data = await client.data(SET, input={"sessionId": session, **given})
    result: Json = data["setMemory"]
    return result


async def memory(client: Client, session: str, of: str | None = None) -> list[Json]:
    entries: list[Json] = (await client.data(MEMORY, id=session, of=of))["memory"]
    return entries


async def test_what_is_set_is_what_the_capability_reads(client: Client, session: str) -> None:
    said = await client.send("?", sessionId=session)
    assert said["process"]["reply"] == "plain 0"
    entry = (await set_(client, session, key="tone", value="warm"))["entry"]
    assert (entry["capability"], entry["key"], entry["value"]) == ("recall", "tone", "warm")
    assert (await set_(client, session, key="count", value="7"))["entry"]["value"] == 7
    said = await client.send("?", sessionId=session)
    assert said["process"]["reply"] == "warm 7"
    assert (await set_(client, session, key="tone", remove=True))["entry"] is None
    said = await client.send("?", sessionId=session)
    assert said["process"]["reply"] == "plain 7"
    assert [each["key"] for each in await memory(client, session)] == ["count"]


async def test_memory_is_read_of_one_capability_or_of_all(client: Client, session: str) -> None:
    await set_(client, session, key="count", value=1)
    await set_(client, session, key="anything", value={"x": None}, capability="assistant")
    everything = await memory(client, session)
    assert [each["capability"] for each in everything] == ["assistant", "recall"]
    assert await memory(client, session, of="recall") == everything[1:]
    assert await memory(client, session, of="none") == []


async def test_null_is_kept_and_read_like_any_other_value(client: Client, session: str) -> None:
    entry = (await set_(client, session, key="k", value=None, capability="assistant"))["entry"]
    assert entry["value"] is None
    assert await memory(client, session) == [{"capability": "assistant", "key": "k", "value": None}]
    listed = await client.data("{ sessions(first: 2) { nodes { workingState { key value } } } }")
    assert listed["sessions"]["nodes"] == [{"workingState": [{"key": "k", "value": None}]}]


@pytest.mark.parametrize("value", ["1e400", "[-1e400]", "{of: [1e999]}"])
async def test_a_number_that_json_has_none_of_is_refused_where_it_is(
    client: Client, session: str, value: str
) -> None:
    """Kept as null it would be another value than the one that was sent."""
    query = f'''mutation {{ setMemory(input: {{
      sessionId: "{session}", key: "k", capability: "assistant", value: {value}
    }}) {{ __typename }} }}'''
    error = await client.error(query)
    assert "JSON cannot represent a number that is not finite" in error["message"]
    assert error["extensions"]["code"] == "INVALID_REQUEST"
    assert error["locations"][0]["line"] == 2
    assert await memory(client, session) == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"key": "tone", "value": "too long"}, "value"),
        ({"key": "count", "value": "many"}, "value"),
        ({"key": "count", "value": None}, "value"),
        ({"key": "places", "value": [{"a": 1}, {"b": "x"}]}, "value.1.b"),
        ({"key": "unknown", "value": 1}, "key"),
        ({"key": "unknown", "remove": True}, "key"),
        ({"key": "", "value": 1}, "key"),
        ({"key": "x" * 101, "value": 1}, "key"),
        ({"key": "x", "value": "é" * 40_000, "capability": "assistant"}, "value"),
        ({"key": "x", "value": 1, "capability": "nobody"}, "capability"),
        ({"key": "x", "value": 1, "capability": ""}, "capability"),
    ],
)
async def test_what_the_capability_does_not_declare_is_refused_where_it_is(
    client: Client, session: str, given: Json, field: str
) -> None:
    result = await set_(client, session, **given)
    assert (result["__typename"], result["field"]) == ("InvalidInput", field), result
    assert await memory(client, session) == []


async def test_a_change_is_told_once_and_without_its_value(client: Client, session: str) -> None:
    await set_(client, session, key="tone", value="warm")
    events = await client.data(
        "query E($id: ID!) { session(id: $id) { events(last: 1) { nodes { type pid payload } } } }",
        id=session,
    )
    assert events["session"]["events"]["nodes"] == [
        {
            "type": "state.changed",
            "pid": None,
            "payload": {"capability": "recall", "keys": ["tone"]},
        }
    ]


async def test_memory_of_another_user_or_a_deleted_session_is_not_there(
    client: Client, session: str
) -> None:
    bob = client.called("bob")
    assert (await set_(bob, session, key="tone", value="warm"))["__typename"] == "NotFound"
    assert (await bob.error(MEMORY, id=session))["extensions"]["code"] == "NOT_FOUND"
    await client.node.chat.delete_session(client.caller, session)
    assert (await set_(client, session, key="tone", value="warm"))["__typename"] == "NotFound"


async def test_a_session_keeps_so_many_keys_and_no_more(client: Client, session: str) -> None:
    for number in range(MAX_KEYS):
        result = await set_(client, session, key=f"k{number}", value=0, capability="assistant")
        assert result["__typename"] == "SetMemoryPayload"
    result = await set_(client, session, key="tone", value="warm")
    assert (result["__typename"], result["reason"]) == ("QuotaExceeded", "max_state_keys_exceeded")
    result = await set_(client, session, key="k0", value=1, capability="assistant")
    assert result["entry"]["value"] == 1
    await set_(client, session, key="k0", remove=True, capability="assistant")
    assert (await set_(client, session, key="tone", value="warm"))["entry"]
