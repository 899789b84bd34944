"""The line, through GraphQL: messages to a busy session, places that change."""

from __future__ import annotations

from mission_system.core.tower.process import ProcessState

from .conftest import SEND, Client, Gate, Json

PRIORITISE = """
mutation Prioritise($input: SetPriorityInput!) {
  setPriority(input: $input) {
    __typename
    ... on SetPriorityPayload { process { pid state priority } }
    ... on Error { code message }
  }
}
"""
SEND_BUSY = SEND.replace(
    "... on InvalidInput", "... on Busy { retryAfter }\n    ... on InvalidInput"
)


async def prioritise(client: Client, pid: str, priority: str) -> Json:
    data = await client.data(PRIORITISE, input={"processId": pid, "priority": priority})
    payload: Json = data["setPriority"]
    return payload


async def at_work(client: Client, gate: Gate) -> Json:
    """A process that is running."""
    process: Json = (await client.send("first", capability="gate", wait=False))["process"]
    await gate.reached.wait()
    return process


async def test_place_in_line_changes(client: Client, gate: Gate) -> None:
    first = await at_work(client, gate)
    queued = (await client.send("next", sessionId=first["sessionId"], wait=False))["process"]
    changed = await prioritise(client, queued["id"], "HIGH")
    assert changed["process"] == {"pid": queued["pid"], "state": "READY", "priority": "HIGH"}
    refused = await prioritise(client, first["pid"], "HIGH")
    assert (refused["__typename"], refused["code"]) == ("Conflict", "CONFLICT")
    stranger = await prioritise(client.called("eve"), queued["pid"], "LOW")
    assert stranger["__typename"] == "NotFound"
    gate.opened.set()


async def test_message_to_a_busy_session_is_refused_or_ends_what_runs(
    client: Client, gate: Gate
) -> None:
    first = await at_work(client, gate)
    given = {"text": "next", "sessionId": first["sessionId"]}
    refused = (await client.data(SEND_BUSY, input={**given, "onBusy": "REJECT"}))["sendMessage"]
    assert refused["__typename"] == "Busy"
    assert refused["retryAfter"] > 0
    gate.opened.clear()
    last = await client.send(
        "next", sessionId=first["sessionId"], onBusy="CANCEL_PREVIOUS", wait=False
    )
    ended = await client.node.tower.get(client.caller, first["pid"])
    assert (ended.state, ended.reason) == (ProcessState.TERMINATED, "superseded")
    assert last["process"]["state"] in ("READY", "RUNNING")
    gate.opened.set()
