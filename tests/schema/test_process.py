"""Processes: their timeline, usage and lists, read with few queries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mission_system.core.capabilities import OrchestratorSpec
from mission_system.core.node import Node
from mission_system.core.tower.mission import Mission

from .conftest import Client, Gate

PROCESS = """
query Process($id: ID!) {
  process(id: $id) {
    pid requestId capability version text state priority stage outcome createdAt startedAt
    completedAt
    quota { maxLlmCalls maxToolCalls maxAgentHops timeoutSeconds }
    usage { llmCalls toolCalls agentHops steps tokensIn tokensOut elapsedSeconds }
    steps { key kind name status duration tokensIn tokensOut error createdAt }
    userMessage { content }
    replyMessage { content }
    session { sessionId messageCount }
  }
}
"""
MESSAGES = """
query Messages($id: ID!, $first: Int!) {
  session(id: $id) {
    messages(first: $first) {
      nodes { content process { pid state replyMessage { content } userMessage { content } } }
    }
  }
}
"""


async def test_a_process_tells_what_it_did_and_used(client: Client) -> None:
    sent = await client.send("hello")
    pid = sent["process"]["pid"]
    process = (await client.data(PROCESS, id=pid))["process"]
    assert process["text"] == "hello"
    assert (process["capability"], process["version"]) == ("assistant", 1)
    assert (process["priority"], process["outcome"]) == ("NORMAL", "COMPLETED")
    assert process["requestId"] == pid
    assert process["createdAt"] <= process["startedAt"] <= process["completedAt"]
    assert process["createdAt"].endswith("+00:00")
    assert process["quota"] == {
        "maxLlmCalls": 10,
        "maxToolCalls": 50,
        "maxAgentHops": 21,
        "timeoutSeconds": 300,
    }
    usage = process["usage"]
    assert (usage["llmCalls"], usage["agentHops"], usage["toolCalls"]) == (1, 1, 0)
    assert usage["tokensOut"] > 0
    assert usage["elapsedSeconds"] >= 0
    assert [step["status"] for step in process["steps"]] == ["COMPLETED"] * len(process["steps"])
    [call] = [step for step in process["steps"] if step["kind"] == "llm"]
    assert (call["tokensOut"], call["error"]) == (usage["tokensOut"], None)
    assert process["userMessage"] == {"content": "hello"}
    assert process["replyMessage"] == {"content": sent["process"]["reply"]}
    assert process["session"] == {"sessionId": sent["process"]["sessionId"], "messageCount": 2}


async def test_a_timeline_can_be_read_in_parts(client: Client) -> None:
    [interrupt] = (await client.send("/clarify"))["process"]["interrupts"]
    await client.node.tower.resume_request(
        client.caller, interrupt["interruptId"], "billing", wait=10
    )
    query = (
        "query S($id: ID!, $first: Int! = 100, $after: String) {"
        " node(id: $id) { ... on Interrupt { process { steps(first: $first, after: $after) {"
        " key } } } } }"
    )

    async def keys(**page: object) -> list[str]:
        data = await client.data(query, id=interrupt["id"], **page)
        return [step["key"] for step in data["node"]["process"]["steps"]]

    everything = await keys()
    assert everything
    assert await keys(first=1) == everything[:1]
    assert await keys(after=everything[0]) == everything[1:]
    for page in ({"after": "none"}, {"first": 0}, {"first": 201}):
        error = await client.error(query, id=interrupt["id"], **page)
        assert error["extensions"]["code"] == "INVALID_INPUT"


async def test_a_priority_is_kept(client: Client) -> None:
    process = (await client.send("hello", priority="LOW"))["process"]
    found = await client.data(
        "query P($id: ID!) { process(id: $id) { priority } }", id=process["id"]
    )
    assert found["process"] == {"priority": "LOW"}


async def test_processes_are_listed_newest_first_of_all_sessions_or_one(client: Client) -> None:
    sent = [(await client.send(f"message {number}"))["process"] for number in range(3)]
    pids = [process["pid"] for process in sent]
    query = (
        "query P($s: ID, $first: Int! = 50, $after: String) {"
        " processes(sessionId: $s, first: $first, after: $after) {"
        " nodes { pid } pageInfo { hasNextPage endCursor } } }"
    )
    everything = (await client.data(query))["processes"]
    assert [node["pid"] for node in everything["nodes"]] == pids[::-1]
    first = (await client.data(query, first=2))["processes"]
    rest = (await client.data(query, first=2, after=first["pageInfo"]["endCursor"]))["processes"]
    assert [node["pid"] for node in first["nodes"] + rest["nodes"]] == pids[::-1]
    one = (await client.data(query, s=sent[0]["sessionId"]))["processes"]
    assert [node["pid"] for node in one["nodes"]] == pids[:1]
    listed = await client.data(
        "query S($id: ID!) { session(id: $id) { processes { nodes { pid } } } }",
        id=sent[1]["sessionId"],
    )
    assert [node["pid"] for node in listed["session"]["processes"]["nodes"]] == [pids[1]]


async def test_a_process_that_is_not_there_is_null_with_an_error(client: Client) -> None:
    data, [error] = await client.execute('{ process(id: "none") { pid } viewer { userId } }')
    assert data == {"process": None, "viewer": {"userId": "local"}}
    assert error["extensions"] == {"code": "NOT_FOUND"}


async def test_a_running_process_shows_its_state(client: Client, gate: Gate) -> None:
    sent = await client.send("hello", capability="gate", wait=False)
    await asyncio.wait_for(gate.reached.wait(), 10)
    process = (await client.data(PROCESS, id=sent["process"]["id"]))["process"]
    assert (process["state"], process["outcome"]) == ("RUNNING", None)
    assert process["replyMessage"] is None
    gate.opened.set()


async def test_a_longer_list_takes_no_more_queries(
    client: Client, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages, their processes and those processes' messages: one query a level."""
    session_id = (await client.send("message 0"))["process"]["sessionId"]
    for number in range(1, 6):
        await client.send(f"message {number}", sessionId=session_id)
    queries: list[str] = []

    def counted(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def reading(sql: str, params: object = ()) -> Any:
            queries.append(sql)
            return await read(sql, params)

        return reading

    for name in ("fetch_one", "fetch_all"):
        monkeypatch.setattr(node.database, name, counted(getattr(node.database, name)))

    spent: dict[int, int] = {}
    for first in (2, 12):
        queries.clear()
        data = await client.data(MESSAGES, id=session_id, first=first)
        nodes = data["session"]["messages"]["nodes"]
        assert len(nodes) == first
        assert all(node["process"]["replyMessage"]["content"] for node in nodes)
        spent[first] = len(queries)
    assert spent[12] == spent[2] <= 6


FAMILY = """
query Family($id: ID!, $after: ID) {
  process(id: $id) {
    depth parent { pid } interrupts { question pid process { parent { pid depth } } }
    children(first: 2, after: $after) { pid depth parent { pid } children { pid } }
  }
}
"""


async def test_a_family_is_shown_from_both_ends(client: Client, node: Node) -> None:
    async def boss(mission: Mission) -> str:
        replies = await mission.gather(*(mission.spawn("leaf", each) for each in "abc"))
        return " ".join(reply.text for reply in replies)

    async def leaf(mission: Mission) -> str:
        return await mission.clarify("c?") if mission.message == "c" else mission.message

    node.capabilities.register(OrchestratorSpec("boss", boss))
    node.capabilities.register(OrchestratorSpec("leaf", leaf))
    sent = (await client.send("hi", capability="boss"))["process"]
    assert (sent["state"], sent["reason"]) == ("BLOCKED", "child")
    assert [each["question"] for each in sent["interrupts"]] == ["c?"]
    pid = sent["pid"]
    shown = (await client.data(FAMILY, id=pid))["process"]
    assert (shown["depth"], shown["parent"]) == (0, None)
    [question] = shown["interrupts"]
    assert question["process"]["parent"] == {"pid": pid, "depth": 0}
    assert [child["parent"] for child in shown["children"]] == [{"pid": pid}] * 2
    assert [child["depth"] for child in shown["children"]] == [1, 1]
    first = [child["pid"] for child in shown["children"]]
    rest = (await client.data(FAMILY, id=pid, after=first[-1]))["process"]["children"]
    assert len({*first, rest[0]["pid"]}) == 3
    assert question["pid"] in {*first, rest[0]["pid"]}
    strange = await client.called("eve").execute(FAMILY, id=first[0])
    assert strange[1][0]["extensions"]["code"] == "NOT_FOUND"
    done = await client.node.tower.resume_request(
        client.caller, sent["interrupts"][0]["interruptId"], "C", wait=10
    )
    assert done.reply == "a b C"


NESTED = """
query Nested($first: Int!) {
  processes(first: $first) {
    nodes {
      pid
      steps { key name }
      userMessage { content }
      replyMessage { content }
      session { sessionId }
    }
  }
}
"""


async def test_nested_fields_of_a_list_cost_as_many_queries_for_ten_as_for_one(
    client: Client, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        await client.send(f"message {number}", capability="assistant")
    counts: list[int] = []
    for first in (1, 10):
        asked: list[str] = []
        with monkeypatch.context() as patch:
            for name in ("fetch_one", "fetch_all"):
                patch.setattr(node.database, name, _counting(getattr(node.database, name), asked))
            nodes = (await client.data(NESTED, first=first))["processes"]["nodes"]
        counts.append(len(asked))
        assert len(nodes) == first
        for index, shown in enumerate(nodes):
            assert shown["userMessage"]["content"] == f"message {9 - index}"
            assert f"message {9 - index}" in shown["replyMessage"]["content"]
            assert shown["session"]["sessionId"]
            assert shown["steps"]
    assert counts[0] == counts[1], counts


def _counting(read: Any, asked: list[str]) -> Any:
    async def counted(sql: str, *args: Any) -> Any:
        asked.append(sql)
        return await read(sql, *args)

    return counted
