"""Subscriptions: every event once and in order, wherever a client lost its connection."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import islice

import pytest

from mission_system.core.errors import InvalidInput
from mission_system.core.node import Node
from mission_system.schema.event import event_cursor, seq_of

from .conftest import Client, Gate, Json

SESSION_EVENTS = """
subscription Events($id: ID!, $after: String) {
  sessionEvents(sessionId: $id, after: $after) {
    cursor seq type sessionId pid payload createdAt
  }
}
"""
PROCESS_EVENTS = """
subscription Events($id: ID!, $after: String) {
  processEvents(processId: $id, after: $after) { cursor seq type pid payload }
}
"""
REPLY = """
subscription Reply($id: ID!, $after: String) {
  replyStream(processId: $id, after: $after) {
    __typename
    ... on ReplyDelta { cursor step attempt offset text }
    ... on ReplyRestarted { cursor step attempt }
    ... on ReplyFinished { cursor message { content } process { state outcome } }
  }
}
"""
ENDINGS = {"process.completed", "process.failed", "process.cancelled"}


async def events_to_the_end(client: Client, session_id: str, after: str | None) -> list[Json]:
    """A session's events up to the first that ends a process."""
    found: list[Json] = []
    async with aclosing(client.follow(SESSION_EVENTS, id=session_id, after=after)) as events:
        async for event in events:
            found.append(event)
            if event["type"] in ENDINGS:
                break
    return found


async def replies(client: Client, pid: str, after: str | None = None) -> list[Json]:
    return [part async for part in client.follow(REPLY, id=pid, after=after)]


def written(parts: list[Json]) -> str:
    """The text that a client puts together from deltas, of the last attempt at each step."""
    steps: dict[str, tuple[int, str]] = {}
    for part in parts:
        if part["__typename"] == "ReplyDelta":
            attempt, text = steps.get(part["step"], (part["attempt"], ""))
            if attempt == part["attempt"]:
                assert part["offset"] == len(text)
                steps[part["step"]] = (attempt, text + part["text"])
        elif part["__typename"] == "ReplyRestarted":
            steps[part["step"]] = (part["attempt"], "")
    return "".join(text for _, text in steps.values())


async def test_a_session_tells_its_whole_story_in_order(client: Client) -> None:
    process = (await client.send("hello"))["process"]
    story = await events_to_the_end(client, process["sessionId"], "")
    assert [event["seq"] for event in story] == list(range(1, len(story) + 1))
    types = [event["type"] for event in story]
    assert types[0] == "chat.session.created"
    assert types[-1] == "process.completed"
    assert {"process.created", "chat.message.created", "llm.delta", "stage.started"} <= set(types)
    created = next(event for event in story if event["type"] == "process.created")
    assert (created["pid"], created["sessionId"]) == (process["pid"], process["sessionId"])
    assert created["payload"]["capability"] == "assistant"


async def test_events_resume_from_every_cursor_without_gap_or_repeat(client: Client) -> None:
    session_id = (await client.send("hello"))["process"]["sessionId"]
    story = await events_to_the_end(client, session_id, "")
    for position, event in enumerate(story[:-1], 1):
        assert await events_to_the_end(client, session_id, event["cursor"]) == story[position:]


async def test_a_subscriber_that_lost_its_connection_misses_nothing(
    client: Client, gate: Gate, node: Node
) -> None:
    """It leaves while the process runs, and comes back after the process has gone on."""
    sent = await client.send("hello", capability="gate", wait=False)
    session_id = sent["process"]["sessionId"]
    seen: list[Json] = []
    async with aclosing(client.follow(SESSION_EVENTS, id=session_id, after="")) as events:
        async for event in events:
            seen.append(event)
            if event["type"] == "process.state_changed" and event["payload"]["to"] == "running":
                break
    gate.opened.set()
    await node.tower.wait(client.caller, sent["process"]["pid"], 10)
    seen += await events_to_the_end(client, session_id, seen[-1]["cursor"])
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["type"] == "process.completed"


async def test_without_a_cursor_a_session_tells_only_what_is_new(client: Client) -> None:
    sent = await client.send("old")
    session_id = sent["process"]["sessionId"]
    old = await client.node.events.last_seq(client.caller, session_id)
    async with aclosing(client.follow(SESSION_EVENTS, id=session_id)) as events:
        first = asyncio.ensure_future(anext(events))
        while not first.done():
            await client.send("new", sessionId=session_id)
    assert first.result()["seq"] > old


async def test_subscribers_are_live_and_leave_nothing_behind(client: Client, gate: Gate) -> None:
    sent = await client.send("hello", capability="gate", wait=False)
    pid = sent["process"]["pid"]

    async def last_type() -> str:
        *_, last = [event async for event in client.follow(PROCESS_EVENTS, id=pid)]
        return str(last["type"])

    followers = [asyncio.create_task(last_type()) for _ in range(3)]
    await asyncio.wait_for(gate.reached.wait(), 10)
    gate.opened.set()
    assert await asyncio.gather(*followers) == ["process.completed"] * 3
    assert client.node.followers._tails == {}


async def test_a_process_tells_its_own_events_and_ends(client: Client) -> None:
    process = (await client.send("/fail"))["process"]
    await client.send("another", sessionId=process["sessionId"])
    story = [event async for event in client.follow(PROCESS_EVENTS, id=process["pid"])]
    assert {event["pid"] for event in story} == {process["pid"]}
    assert story[-1]["type"] == "process.failed"
    assert "starts with /fail" in story[-1]["payload"]["error"]
    for position, event in enumerate(story, 1):
        rest = [
            e async for e in client.follow(PROCESS_EVENTS, id=process["id"], after=event["cursor"])
        ]
        assert rest == story[position:]


async def test_a_reply_is_written_as_it_comes_and_ends_with_the_message(client: Client) -> None:
    sent = await client.send("tell me a rather long story " * 20, wait=False)
    parts = await replies(client, sent["process"]["id"])
    *deltas, last = parts
    assert {part["__typename"] for part in deltas} == {"ReplyDelta"}
    assert last["process"] == {"state": "TERMINATED", "outcome": "COMPLETED"}
    assert last["message"]["content"] == written(parts)


async def test_a_reply_resumes_from_every_cursor_with_each_character_once(client: Client) -> None:
    sent = await client.send("tell me a rather long story " * 20)
    parts = await replies(client, sent["process"]["pid"])
    assert len(parts) > 1
    for cut in range(1, len(parts) + 1):
        again = list(islice(parts, cut))
        again += await replies(client, sent["process"]["pid"], again[-1]["cursor"])
        assert again == parts


async def test_a_reply_that_failed_ends_without_a_message(client: Client) -> None:
    sent = await client.send("/fail")
    [last] = await replies(client, sent["process"]["id"])
    assert (last["__typename"], last["message"]) == ("ReplyFinished", None)
    assert last["process"]["outcome"] == "FAILED"


async def test_a_reply_goes_on_after_a_question_was_answered(client: Client, node: Node) -> None:
    process = (await client.send("/clarify"))["process"]
    parts = asyncio.create_task(replies(client, process["pid"]))
    await node.tower.resume_request(client.caller, process["interrupts"][0]["interruptId"], "this")
    assert (await asyncio.wait_for(parts, 10))[-1]["message"] == {"content": "You mean: this"}


async def refused(client: Client, query: str, **variables: object) -> Json:
    """The error of a subscription that does not begin."""
    results = await client.schema.subscribe(
        query, variable_values=variables, context_value=client.context
    )
    async with asyncio.timeout(10):  # one that does begin would not end
        [result] = [result async for result in results]
    assert result.data is None
    assert result.errors is not None
    [error] = result.errors
    return dict(error.formatted)


async def test_an_unknown_or_foreign_thing_cannot_be_followed(client: Client) -> None:
    process = (await client.send("hello"))["process"]
    stranger = client.called("mallory")
    for query, id in (
        (SESSION_EVENTS, process["sessionId"]),
        (PROCESS_EVENTS, process["pid"]),
        (REPLY, process["id"]),
    ):
        for asked in (await refused(stranger, query, id=id), await refused(client, query, id="x")):
            assert asked["extensions"]["code"] == "NOT_FOUND"


async def test_a_cursor_that_is_none_of_the_session_is_refused(client: Client) -> None:
    """Of nothing, of another session, or of an event that has not happened."""
    process = (await client.send("hello"))["process"]
    other = (await client.send("hello"))["session"]["lastCursor"]
    session = await client.node.chat.get_session(client.caller, process["sessionId"])
    for after in (
        "0", "nonsense", "W10", "é", "\0", "x" * 1000, other,
        event_cursor(session.id, -1), event_cursor(session.id, session.last_seq + 1),
    ):  # fmt: skip
        for query, id in (
            (SESSION_EVENTS, session.session_id),
            (PROCESS_EVENTS, process["pid"]),
            (REPLY, process["pid"]),
        ):
            error = await refused(client, query, id=id, after=after)
            assert error["extensions"] == {"code": "INVALID_INPUT", "field": "after"}, after


def test_a_cursor_gives_back_its_position_in_its_own_stream_alone() -> None:
    for seq in (0, 1, 2**63 - 1):
        assert seq_of(event_cursor(7, seq), 7, newest=seq) == seq
        with pytest.raises(InvalidInput):
            seq_of(event_cursor(7, seq), 8, newest=seq)
        with pytest.raises(InvalidInput):
            seq_of(event_cursor(7, seq), 7, newest=seq - 1)
    assert (seq_of(None, 7, newest=5), seq_of("", 7, newest=5)) == (None, 0)
