"""Questions of every kind, as clients see and answer them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission
from mission_system.core.tower.process import Quota

from .conftest import Client

Json = dict[str, Any]


@tool(risk="write")
def save(text: str) -> str:
    """Save a text."""
    return f"saved {text}"


async def clarification(mission: Mission) -> str:
    return await mission.clarify("Which?", options=["a", "b"])


async def confirmation(mission: Mission) -> str:
    return str(await mission.tools.save(text="it"))


async def agent_review(mission: Mission) -> str:
    return await mission.review("Good?")


async def checkpoint(mission: Mission) -> str:
    await mission.checkpoint("Half done.")
    return "went on"


async def resource_exhausted(mission: Mission) -> str:
    for _ in range(2):
        await mission.step("effect", lambda: None)
    return "done"


async def timeout(mission: Mission) -> str:
    return await mission.step("effect", lambda: "never in time")


FAILED: list[str] = []


async def system_error(mission: Mission) -> str:
    if not FAILED:
        FAILED.append(mission.pid)
        raise ValueError("once")
    return "done"


SPECS = (
    OrchestratorSpec("clarification", clarification),
    OrchestratorSpec("confirmation", confirmation),
    OrchestratorSpec("agent_review", agent_review),
    OrchestratorSpec("checkpoint", checkpoint),
    OrchestratorSpec(
        "resource_exhausted", resource_exhausted, quota=Quota(max_steps=1, on_exhausted="ask")
    ),
    OrchestratorSpec(
        "timeout",
        timeout,
        quota=Quota(timeout_seconds=1e-9, soft_timeout_seconds=1e-9, on_exhausted="ask"),
    ),
    OrchestratorSpec("system_error", system_error, on_error="ask"),
)


@pytest.fixture
async def node(settings: Settings) -> AsyncIterator[Node]:
    FAILED.clear()
    catalog = ToolCatalog()
    catalog.register(save)
    runtime = create_mission_runtime(catalog, settings=settings, use_mock=True)
    async with Node(runtime, CapabilityRegistry(SPECS, "clarification")) as node:
        yield node


RESPOND = """
mutation Respond($input: RespondToInterruptInput!) {
  respondToInterrupt(input: $input) {
    __typename
    ... on AnswerPayload {
      process { outcome reason quota { maxSteps onExhausted } }
      reply { content }
    }
    ... on Error { message }
    ... on InvalidInput { field }
  }
}
"""


async def respond(client: Client, id: str, answer: str) -> Json:
    given = {"interruptId": id, "answer": answer}
    found: Json = (await client.data(RESPOND, input=given))["respondToInterrupt"]
    return found


@pytest.mark.parametrize(
    ("kind", "options", "answer", "reply"),
    [
        ("clarification", ["a", "b"], "c", "c"),
        ("confirmation", ["yes", "no"], "ok", "saved it"),
        ("agent_review", ["approve", "reject"], "approve", "approve"),
        ("checkpoint", ["continue", "stop"], "continue", "went on"),
        ("resource_exhausted", ["extend", "end"], "extend", "done"),
        ("system_error", ["retry", "end"], "retry", "done"),
    ],
)
async def test_a_question_of_each_kind_is_shown_and_answered(
    client: Client, kind: str, options: list[str], answer: str, reply: str
) -> None:
    process = (await client.send("hi", capability=kind))["process"]
    [asked] = process["interrupts"]
    assert (asked["kind"], asked["options"]) == (kind.upper(), options)
    if kind != "clarification":
        refused = await respond(client, asked["id"], "perhaps")
        assert (refused["__typename"], refused["field"]) == ("InvalidInput", "answer")
    payload = await respond(client, asked["id"], answer)
    assert payload["reply"] == {"content": reply}, payload
    again = await respond(client, asked["id"], answer)
    assert again["__typename"] == "Conflict"


async def test_a_limit_of_time_is_shown_and_ended(client: Client) -> None:
    [asked] = (await client.send("hi", capability="timeout"))["process"]["interrupts"]
    assert (asked["kind"], asked["options"]) == ("TIMEOUT", ["extend", "end"])
    payload = await respond(client, asked["id"], "end")
    assert payload["process"]["reason"] == "timeout_exceeded"


async def test_more_is_seen_in_the_quota(client: Client) -> None:
    [asked] = (await client.send("hi", capability="resource_exhausted"))["process"]["interrupts"]
    payload = await respond(client, asked["id"], "extend")
    assert payload["process"]["quota"] == {"maxSteps": 2, "onExhausted": "ASK"}


async def test_what_a_question_is_about_is_data(client: Client) -> None:
    await client.send("hi", capability="confirmation")
    found = await client.data("{ interrupts { nodes { data question } } }")
    assert found["interrupts"]["nodes"] == [
        {
            "data": {"tool": "save", "risk": "write", "arguments": '{"text":"it"}'},
            "question": "May I run the write tool 'save'?\n  text: it",
        }
    ]


HISTORY = """
query History($status: InterruptStatus!, $after: String) {
  interrupts(status: $status, first: 2, after: $after) {
    nodes { interruptId status answer }
    pageInfo { hasNextPage endCursor }
  }
}
"""


async def pages(client: Client, status: str) -> list[Json]:
    found: list[Json] = []
    after: str | None = None
    while True:
        page = (await client.data(HISTORY, status=status, after=after))["interrupts"]
        found += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


async def test_questions_are_listed_by_status_page_by_page(client: Client) -> None:
    asked: list[str] = []
    for number in range(5):
        [question] = (await client.send("hi"))["process"]["interrupts"]
        asked.append(question["interruptId"])
        if number < 3:
            await respond(client, question["id"], f"answer {number}")
    resolved = await pages(client, "RESOLVED")
    assert [each["interruptId"] for each in resolved] == asked[2::-1]  # newest first
    assert [each["answer"] for each in resolved] == ["answer 2", "answer 1", "answer 0"]
    assert [each["interruptId"] for each in await pages(client, "PENDING")] == asked[3:]
    assert await pages(client, "EXPIRED") == []


async def test_questions_to_another_user_are_not_listed(client: Client) -> None:
    [question] = (await client.send("hi"))["process"]["interrupts"]
    await respond(client, question["id"], "a")
    stranger = client.called("mallory")
    assert await pages(stranger, "RESOLVED") == []
    assert await pages(stranger, "PENDING") == []


@pytest.mark.parametrize("after", ["", "nonsense", "x" * 300])
async def test_a_cursor_of_no_list_is_refused(client: Client, after: str) -> None:
    error = await client.error(HISTORY, status="PENDING", after=after)
    assert error["extensions"]["code"] == "INVALID_INPUT"
