"""Requests: sent, answered, asked about, ended; and every way in which that can be refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec
from mission_system.core.node import Node
from mission_system.core.runtime import create_mission_runtime
from mission_system.core.settings import Settings
from mission_system.core.tools.catalog import ToolCatalog
from mission_system.core.tools.decorator import tool
from mission_system.core.tower.mission import Mission

from .conftest import SEND, Client, Gate, Json

ANSWER = """
mutation Answer($input: AnswerClarificationInput!) {
  answerClarification(input: $input) {
    __typename
    ... on AnswerPayload { process { state outcome interrupts { id } } reply { content } }
    ... on Error { code message }
    ... on InvalidInput { field }
  }
}
"""
RESPOND = """
mutation Respond($input: RespondToInterruptInput!) {
  respondToInterrupt(input: $input) {
    __typename
    ... on AnswerPayload { process { state outcome interrupts { id } } reply { content } }
    ... on Error { code message }
    ... on InvalidInput { field }
  }
}
"""
CONFIRM = """
mutation Confirm($input: AnswerConfirmationInput!) {
  answerConfirmation(input: $input) {
    __typename
    ... on AnswerPayload { process { state outcome } reply { content } }
    ... on Error { code message }
    ... on InvalidInput { field }
  }
}
"""
CANCEL = """
mutation Cancel($input: CancelProcessInput!) {
  cancelProcess(input: $input) {
    __typename
    ... on CancelProcessPayload { process { pid state outcome reason completedAt } }
    ... on Error { code message }
    ... on InvalidInput { field }
  }
}
"""
RESUME = """
mutation Resume($input: ResumeProcessInput!) {
  resumeProcess(input: $input) {
    __typename
    ... on ResumeProcessPayload { process { pid state reason error } }
    ... on Error { code message }
  }
}
"""


async def refused(client: Client, **given: object) -> Json:
    """The error member that `sendMessage` answers with."""
    payload: Json = (await client.data(SEND, input={"text": "hello", **given}))["sendMessage"]
    assert payload["__typename"] != "SendMessagePayload", payload
    return payload


async def answer(client: Client, interrupt: str, text: str) -> Json:
    data = await client.data(ANSWER, input={"interruptId": interrupt, "answer": text})
    payload: Json = data["answerClarification"]
    return payload


async def respond(client: Client, interrupt: str, text: str) -> Json:
    data = await client.data(RESPOND, input={"interruptId": interrupt, "answer": text})
    payload: Json = data["respondToInterrupt"]
    return payload


async def settled(client: Client, pid: str) -> list[str]:
    """The ids of the questions that a process waits for, once it waits."""
    process = await client.node.tower.wait(client.caller, pid, 10)
    return [interrupt.id for interrupt in process.interrupts]


async def confirm(client: Client, interrupt: str, approve: bool) -> Json:
    data = await client.data(CONFIRM, input={"interruptId": interrupt, "approve": approve})
    payload: Json = data["answerConfirmation"]
    return payload


async def test_a_message_is_answered_by_the_time_the_mutation_returns(client: Client) -> None:
    sent = await client.send("what is the time?")
    process = sent["process"]
    assert (process["state"], process["outcome"]) == ("TERMINATED", "COMPLETED")
    assert sent["userMessage"] == {
        "content": "what is the time?",
        "role": "USER",
        "pid": process["pid"],
    }
    assert sent["reply"]["role"] == "ASSISTANT"
    assert sent["reply"]["content"] == process["reply"]
    assert "what is the time?" in process["reply"]
    assert sent["session"]["sessionId"] == process["sessionId"]


async def test_without_waiting_the_process_is_returned_as_it_is(client: Client, gate: Gate) -> None:
    sent = await client.send("hello", capability="gate", wait=False)
    assert sent["process"]["state"] in ("READY", "RUNNING")
    assert sent["reply"] is None
    gate.opened.set()


async def test_a_wait_that_is_too_short_leaves_the_process_running(
    client: Client, gate: Gate, node: Node
) -> None:
    sent = await client.send("hello", capability="gate", waitSeconds=0.05)
    assert sent["process"]["state"] == "RUNNING"
    gate.opened.set()
    process = await node.tower.wait(client.caller, sent["process"]["pid"], 10)
    assert process.reply == "through the gate"


async def test_a_capability_that_fails_gives_its_reason(client: Client) -> None:
    process = (await client.send("/fail please"))["process"]
    assert (process["state"], process["outcome"]) == ("TERMINATED", "FAILED")
    assert "starts with /fail" in process["error"]


async def test_messages_of_one_session_are_answered_one_after_another(client: Client) -> None:
    session_id = (await client.send("first"))["process"]["sessionId"]
    texts = [f"message {number}" for number in range(5)]
    sent = await asyncio.gather(*(client.send(text, sessionId=session_id) for text in texts))
    for text, payload in zip(texts, sent, strict=True):
        assert text in payload["process"]["reply"]


async def test_a_message_that_does_not_validate_is_refused_by_field_and_not_stored(
    client: Client,
) -> None:
    for given, field in (
        ({"text": ""}, "text"),
        ({"text": "x" * 10_001}, "text"),
        ({"text": "nul\0"}, "text"),
        ({"text": "half a pair \ud83d"}, "text"),
        ({"capability": "nobody serves this"}, "capability"),
        ({"capability": "x" * 256}, "capability"),
        ({"requestId": ""}, "requestId"),
        ({"requestId": "x" * 256}, "requestId"),
        ({"idempotencyKey": ""}, "idempotencyKey"),
        ({"idempotencyKey": "x" * 256}, "idempotencyKey"),
        ({"idempotencyKey": "nul\0"}, "idempotencyKey"),
        ({"idempotencyKey": "k", "requestId": "r"}, "idempotencyKey"),
        ({"waitSeconds": 0}, "waitSeconds"),
        ({"waitSeconds": 301}, "waitSeconds"),
        ({"waitSeconds": -1.5}, "waitSeconds"),
    ):
        payload = await refused(client, **given)
        assert payload["__typename"] == "InvalidInput", given
        assert (payload["code"], payload["field"]) == ("INVALID_INPUT", field), given
    assert (await client.data("{ sessions { nodes { id } } }"))["sessions"]["nodes"] == []


async def test_the_longest_text_is_taken_whatever_its_size_in_bytes(client: Client) -> None:
    sent = await client.send("🙂" * 10_000, wait=False)
    assert len(sent["userMessage"]["content"]) == 10_000


async def test_a_message_to_no_session_is_not_found(client: Client) -> None:
    for session_id in ("none", "", "\0", "x" * 300):
        payload = await refused(client, sessionId=session_id)
        assert (payload["__typename"], payload["code"]) == ("NotFound", "NOT_FOUND"), session_id


async def test_a_request_id_is_taken_once(client: Client) -> None:
    sent = await client.send("hello", requestId="order-1")
    payload = await refused(client, requestId="order-1")
    assert payload["__typename"] == "Conflict"
    found = await client.data('{ process(id: "order-1") { pid } }')
    assert found["process"]["pid"] == sent["process"]["pid"]


async def test_an_idempotency_key_sent_again_gives_what_became_of_the_first(
    client: Client,
) -> None:
    sent = await client.send("/clarify", idempotencyKey="k")
    again = await client.send("/clarify", idempotencyKey="k")
    assert again == sent
    assert again["process"]["interrupts"]
    payload = await refused(client, text="other", idempotencyKey="k")
    assert payload["__typename"] == "Conflict"
    assert "new key" in payload["message"]
    assert (await client.called("ben").send("other", idempotencyKey="k"))["process"]["reply"]


async def test_a_clarification_is_asked_and_answered(client: Client) -> None:
    process = (await client.send("/clarify"))["process"]
    [interrupt] = process["interrupts"]
    assert (process["state"], interrupt["kind"]) == ("WAITING", "CLARIFICATION")
    assert interrupt["question"] == "Which topic do you mean?"
    pending = await client.data("{ interrupts { nodes { id interruptId process { pid } } } }")
    assert pending["interrupts"]["nodes"] == [
        {
            "id": interrupt["id"],
            "interruptId": interrupt["interruptId"],
            "process": {"pid": process["pid"]},
        }
    ]

    payload = await answer(client, interrupt["id"], "billing")
    assert payload == {
        "__typename": "AnswerPayload",
        "process": {"state": "TERMINATED", "outcome": "COMPLETED", "interrupts": []},
        "reply": {"content": "You mean: billing"},
    }
    assert (await client.data("{ interrupts { nodes { id } } }"))["interrupts"]["nodes"] == []


async def test_an_answered_question_keeps_its_answer_and_takes_no_other(client: Client) -> None:
    [interrupt] = (await client.send("/clarify"))["process"]["interrupts"]
    await answer(client, interrupt["interruptId"], "billing")
    again = await answer(client, interrupt["id"], "setup")
    assert (again["__typename"], again["code"]) == ("Conflict", "CONFLICT")
    found = await client.data(
        "query I($id: ID!) { node(id: $id) { ... on Interrupt { status answer } } }",
        id=interrupt["id"],
    )
    assert found["node"] == {"status": "RESOLVED", "answer": "billing"}


async def test_an_answer_that_does_not_validate_leaves_the_question_open(client: Client) -> None:
    [interrupt] = (await client.send("/clarify"))["process"]["interrupts"]
    for text in ("", "x" * 2001, "nul\0"):
        payload = await answer(client, interrupt["id"], text)
        assert (payload["__typename"], payload["field"]) == ("InvalidInput", "answer")
    assert (await answer(client, interrupt["id"], "x" * 2000))["__typename"] == "AnswerPayload"


@pytest.mark.parametrize(
    ("approve", "reply"),
    [(True, "Confirmed: it is done."), (False, "Declined: nothing was done.")],
)
async def test_a_confirmation_is_approved_or_declined(
    client: Client, approve: bool, reply: str
) -> None:
    [interrupt] = (await client.send("/confirm"))["process"]["interrupts"]
    assert interrupt["kind"] == "CONFIRMATION"
    payload = await confirm(client, interrupt["id"], approve)
    assert payload["process"] == {"state": "TERMINATED", "outcome": "COMPLETED"}
    assert payload["reply"]["content"] == reply


async def test_a_question_of_another_kind_is_there_and_stays_open(client: Client) -> None:
    [asked] = (await client.send("/clarify"))["process"]["interrupts"]
    wrong = await confirm(client, asked["id"], True)
    assert (wrong["__typename"], wrong["field"]) == ("InvalidInput", "interruptId")
    assert "CLARIFICATION" in wrong["message"]
    assert (await answer(client, asked["id"], "billing"))["__typename"] == "AnswerPayload"


async def test_a_question_of_another_user_is_not_found(client: Client) -> None:
    [asked] = (await client.send("/clarify"))["process"]["interrupts"]
    assert (await confirm(client.called("mallory"), asked["id"], True))["__typename"] == "NotFound"
    stranger = client.called("mallory")
    assert (await answer(stranger, asked["id"], "mine"))["__typename"] == "NotFound"
    assert (await answer(client, "none", "hello"))["__typename"] == "NotFound"


async def test_a_call_in_doubt_after_a_crash_waits_for_a_review_and_takes_one(
    client: Client, tmp_path: Path
) -> None:
    calls: list[str] = []
    called, opened = asyncio.Event(), asyncio.Event()

    @tool(risk="destructive")
    async def burn(what: str) -> str:
        """Burn something."""
        calls.append(what)
        called.set()
        await opened.wait()
        return "ashes"

    async def burner(mission: Mission) -> str:
        return str(await mission.tools.burn(what="letter"))

    def serving() -> Node:
        catalog = ToolCatalog()
        catalog.register(burn)
        settings = Settings(data=tmp_path / "crash", shutdown_seconds=0)
        runtime = create_mission_runtime(catalog, settings=settings, use_mock=True)
        return Node(runtime, CapabilityRegistry((OrchestratorSpec("burner", burner),), "burner"))

    async with serving() as client.node:
        process = (await client.send("go", wait=False))["process"]
        [approval] = await settled(client, process["pid"])
        await client.node.tower.resume_request(client.caller, approval, "yes")
        await asyncio.wait_for(called.wait(), 10)
    async with serving() as client.node:
        [review] = await settled(client, process["pid"])
        for refusal in (await answer(client, review, "retry"), await confirm(client, review, True)):
            assert (refusal["__typename"], refusal["field"]) == ("InvalidInput", "interruptId")
            assert "AGENT_REVIEW" in refusal["message"]
            assert "respondToInterrupt" in refusal["message"]
        refusal = await respond(client, review, "perhaps")
        assert (refusal["__typename"], refusal["field"]) == ("InvalidInput", "answer")
        opened.set()
        assert await respond(client, review, "retry") == {
            "__typename": "AnswerPayload",
            "process": {"state": "TERMINATED", "outcome": "COMPLETED", "interrupts": []},
            "reply": {"content": "ashes"},
        }
    assert calls == ["letter", "letter"]


async def test_a_response_answers_a_question_of_any_kind(client: Client) -> None:
    for message, text, reply in (
        ("/clarify", "billing", "You mean: billing"),
        ("/confirm", "yes", "Confirmed: it is done."),
    ):
        [interrupt] = (await client.send(message))["process"]["interrupts"]
        assert (await respond(client, interrupt["id"], text))["reply"] == {"content": reply}
        again = await respond(client, interrupt["id"], text)
        assert again["__typename"] == "Conflict"


async def test_open_questions_are_read_page_by_page(client: Client) -> None:
    """Also when the last one of a page is answered before the next is read."""
    asked: list[str] = []
    for _ in range(5):
        [interrupt] = (await client.send("/clarify"))["process"]["interrupts"]
        asked.append(interrupt["interruptId"])
    query = """query I($after: String) { interrupts(first: 2, after: $after) {
        nodes { id interruptId } pageInfo { hasNextPage endCursor } } }"""
    found: list[str] = []
    after: str | None = None
    while nodes := (page := (await client.data(query, after=after))["interrupts"])["nodes"]:
        found += [interrupt["interruptId"] for interrupt in nodes]
        after = page["pageInfo"]["endCursor"]
        await answer(client, nodes[-1]["id"], "billing")
    assert found == asked
    refused = (await client.error(query, after=""))["extensions"]
    assert refused == {"code": "INVALID_INPUT", "field": "after"}


async def test_a_running_process_is_cancelled_once(client: Client, gate: Gate) -> None:
    process = (await client.send("hello", capability="gate", wait=False))["process"]
    await asyncio.wait_for(gate.reached.wait(), 10)
    given = {"processId": process["id"], "reason": "not needed"}
    ended = (await client.data(CANCEL, input=given))["cancelProcess"]["process"]
    assert ended["completedAt"] is not None
    assert (ended["pid"], ended["state"], ended["outcome"], ended["reason"]) == (
        process["pid"],
        "TERMINATED",
        "CANCELLED",
        "not needed",
    )
    again = (await client.data(CANCEL, input=given))["cancelProcess"]
    assert again["__typename"] == "Conflict"


async def test_cancelling_nothing_is_not_found_and_a_bad_reason_refused(client: Client) -> None:
    gone = await client.data(CANCEL, input={"processId": "none"})
    assert gone["cancelProcess"]["__typename"] == "NotFound"
    bad = await client.data(CANCEL, input={"processId": "none", "reason": ""})
    assert bad["cancelProcess"]["field"] == "reason"


async def test_a_blocked_process_is_resumed_by_its_user_only(client: Client, node: Node) -> None:
    async def fickle(mission: Mission) -> str:
        await mission.step(name, asyncio.sleep, 0)
        return await mission.clarify("go on?")

    name = "old"
    node.capabilities.register(OrchestratorSpec("fickle", fickle))
    process = (await client.send("hello", capability="fickle"))["process"]
    name = "new"
    await answer(client, process["interrupts"][0]["id"], "yes")
    name = "old"
    given = {"processId": process["id"]}
    strange = (await client.called("eve").data(RESUME, input=given))["resumeProcess"]
    assert strange["__typename"] == "NotFound"
    resumed = (await client.data(RESUME, input=given))["resumeProcess"]["process"]
    assert resumed == {"pid": process["pid"], "state": "READY", "reason": None, "error": None}
    ended = await node.tower.wait(client.caller, process["pid"], 10)
    assert ended.reply == "yes"
    again = (await client.data(RESUME, input=given))["resumeProcess"]
    assert again["__typename"] == "Conflict"


async def test_an_error_that_is_no_member_comes_as_a_graphql_error(
    client: Client, node: Node
) -> None:
    await node.tower.stop()
    error = await client.error(SEND, input={"text": "hello"})
    assert error["extensions"] == {"code": "UNAVAILABLE"}
    assert "shutting down" in error["message"]


async def test_session_may_be_removed_while_a_message_waits_for_its_reply(
    client: Client, gate: Gate
) -> None:
    created = await client.data(
        "mutation { createSession(input: {}) { ... on CreateSessionPayload { session { id } } } }"
    )
    session = created["createSession"]["session"]["id"]
    document = """
      mutation Send($input: SendMessageInput!) { sendMessage(input: $input) {
        ... on SendMessagePayload { process { state session { id } } reply { id } session { id } }
      } }
    """
    waits = asyncio.create_task(
        client.data(document, input={"text": "hi", "capability": "gate", "sessionId": session})
    )
    await gate.reached.wait()
    remove = "deleteSession(input: {sessionId: $id, soft: false}) { __typename }"
    await client.data(f"mutation R($id: ID!) {{ {remove} }}", id=session)
    assert (await waits)["sendMessage"] == {
        "process": {"state": "TERMINATED", "session": None},
        "reply": None,
        "session": None,
    }
