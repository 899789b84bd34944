"""Clean-up on demand, and what clients see of what is gone."""

from __future__ import annotations

import pytest

from mission_system.core.identity import Caller
from mission_system.core.node import Node

from .conftest import Client, Json

CLEAN_UP = """
mutation CleanUp($input: CleanUpInput!) {
  cleanUp(input: $input) {
    __typename
    ... on CleanUpPayload { processes steps events }
    ... on Error { code message }
    ... on InvalidInput { field }
  }
}
"""
MESSAGES = """
query Messages($id: ID!) {
  session(id: $id) {
    messages { nodes { content pid process { pid } } }
    processes { nodes { pid } }
  }
}
"""
STATE = "query State($id: ID!) { process(id: $id) { state outcome } }"
SESSION_EVENTS = """
subscription Events($id: ID!, $after: String) {
  sessionEvents(sessionId: $id, after: $after) { cursor seq type }
}
"""


async def clean_up(client: Client, **given: int) -> Json:
    payload: Json = (await client.data(CLEAN_UP, input=given))["cleanUp"]
    return payload


async def test_an_admin_cleans_up_and_messages_stay(client: Client) -> None:
    process = (await client.send("hello"))["process"]
    removed = await clean_up(client, days=0)
    assert removed["__typename"] == "CleanUpPayload"
    assert removed["processes"] == 1
    assert removed["events"] > 0
    session = (await client.data(MESSAGES, id=process["sessionId"]))["session"]
    assert session["processes"]["nodes"] == []
    assert [
        (message["content"], message["pid"], message["process"])
        for message in session["messages"]["nodes"]
    ] == [("hello", process["pid"], None), (process["reply"], process["pid"], None)]
    gone = await client.error(STATE, id=process["pid"])
    assert gone["extensions"]["code"] == "NOT_FOUND"


async def test_nobody_else_may_clean_up(client: Client) -> None:
    process = (await client.send("hello"))["process"]
    refused = (await client.called("ann").data(CLEAN_UP, input={"days": 0}))["cleanUp"]
    assert refused["__typename"] == "Forbidden"
    assert (await client.data(STATE, id=process["pid"]))["process"]["state"] == "TERMINATED"


@pytest.mark.parametrize("given", [{"days": -1}, {"days": 36_501}, {"keep": -1}])
async def test_what_is_kept_is_bounded(client: Client, given: dict[str, int]) -> None:
    refused = await clean_up(client, **given)
    assert (refused["__typename"], [refused["field"]]) == ("InvalidInput", list(given))


async def test_a_zombie_looks_terminated(client: Client, node: Node) -> None:
    process = (await client.send("hello"))["process"]
    await node.database.write(lambda tx: tx.execute("UPDATE process SET state = 'zombie'"))
    shown = (await client.data(STATE, id=process["pid"]))["process"]
    assert shown == {"state": "TERMINATED", "outcome": "COMPLETED"}


async def test_a_subscription_behind_the_cut_is_told_where_to_go_on(client: Client) -> None:
    session = (await client.send("hello"))["process"]["sessionId"]
    cursors = [event.seq for event in await client.node.events.read(Caller("local"), session)]
    first = await anext(client.follow(SESSION_EVENTS, id=session, after=""))
    await clean_up(client, days=0)
    await client.send("again", sessionId=session)
    oldest = ""
    for after in (first["cursor"], ""):
        results = await client.schema.subscribe(
            SESSION_EVENTS,
            variable_values={"id": session, "after": after},
            context_value=client.context,
        )
        errors = (await anext(results)).errors or []
        extensions = errors[0].extensions or {}
        assert extensions["code"] == "CURSOR_EXPIRED"
        oldest = extensions["oldest"]
    event = await anext(client.follow(SESSION_EVENTS, id=session, after=oldest))
    assert event["seq"] == cursors[-1] + 1


async def test_clean_up_forgets_the_names_of_the_work_that_it_removes(client: Client) -> None:
    for name in ("idempotencyKey", "requestId"):
        session = (await client.send("hello", **{name: "one"}))["session"]["sessionId"]
        await clean_up(client, days=0, keep=0)
        again = await client.send("hello", **{name: "one"})
        assert again["session"]["sessionId"] != session
        assert again["process"]["state"] == "TERMINATED"
