"""Sections 4 and 7 of the contract: requests, their questions, status and metrics."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import Api, Held, Json, problem

OUTCOME = {
    *("request_id", "status", "response_text", "response"),
    *("clarification_needed", "clarification_question", "thread_id"),
    *("confirmation_needed", "confirmation_message", "confirmation_id"),
}
STATUS = {
    *("pid", "state", "priority", "current_stage", "created_at", "started_at", "completed_at"),
    *("resource_usage", "quota", "pending_interrupt"),
}


async def submit(api: Api, message: str, **body: object) -> Json:
    answer = await api.post("requests", user_message=message, **body)
    assert answer.status_code == 200, answer.text
    made: Json = answer.json()
    assert set(made) == OUTCOME
    assert made["response"] == made["response_text"]
    return made


async def status(api: Api, id: str) -> Json:
    answer = await api.http.get(f"/api/v1/requests/{id}/status")
    assert answer.status_code == 200
    found: Json = answer.json()
    return found


async def test_4_a_request_is_answered_and_stored_in_the_users_session(api: Api) -> None:
    made = await submit(api, "hello")
    assert made["status"] == "completed"
    assert "hello" in made["response_text"]
    assert [each["content"] for each in await api.messages("session_ann")] == [
        "hello",
        made["response_text"],
    ]


async def test_4_a_session_that_the_caller_does_not_have_is_created(api: Api) -> None:
    foreign = await api.session("T", user="bob")
    await submit(api, "mine", session_id=foreign)
    assert len(await api.messages(foreign)) == 2
    assert await api.messages(foreign, user_id="bob") == []


async def test_4_a_user_with_the_longest_name_has_a_session(api: Api) -> None:
    answer = await api.post("requests", user_message="hi", user_id="é" * 255)
    assert answer.json()["status"] == "completed"


async def test_4_a_failure_gives_its_reason(api: Api) -> None:
    made = await submit(api, "/fail")
    assert made["status"] == "failed"
    assert made["response_text"]


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, "user_message"),
        ({"user_message": ""}, "user_message"),
        ({"user_message": "x" * 10_001}, "user_message"),
        ({"user_message": "x", "user_id": ""}, "user_id"),
        ({"user_message": "x", "session_id": "x" * 256}, "session_id"),
        ({"user_message": "x", "conversation_history": "x"}, "conversation_history"),
        ({"user_message": "x", "context": []}, "context"),
    ],
)
async def test_4_a_request_that_does_not_validate_is_422(api: Api, body: Json, loc: str) -> None:
    assert problem(await api.post("requests", **body))[1] == ["body", loc]
    assert await api.sessions() == []


async def test_4_a_capability_is_chosen_by_the_context(api: Api) -> None:
    made = await submit(api, "go", context={"capability": "interview"})
    assert made["clarification_question"] == "First?"
    for context in ({"capability": "nobody"}, {"capability": 5}, {"request_id": "x" * 256}):
        answer = await api.post("requests", user_message="go", context=context)
        assert answer.status_code == 400
        assert isinstance(answer.json()["detail"], str)


async def test_4_a_request_id_is_used_once(api: Api) -> None:
    made = await submit(api, "hi", context={"request_id": "mine"})
    assert made["request_id"] == "mine"
    again = await api.post("requests", user_message="hi", context={"request_id": "mine"})
    assert again.status_code == 409
    assert len(await api.messages("session_ann")) == 2
    assert (await status(api, "mine"))["state"] == "terminated"


async def test_4_a_clarification_is_answered_once(api: Api) -> None:
    made = await submit(api, "/clarify")
    assert (made["status"], made["clarification_needed"]) == ("clarification_needed", True)
    thread = made["thread_id"]
    answer = await api.post("chat/clarifications", thread_id=thread, clarification="billing")
    assert answer.status_code == 200
    assert set(answer.json()) == OUTCOME
    assert answer.json()["status"] == "completed"
    assert answer.json()["request_id"] == made["request_id"]
    assert "billing" in answer.json()["response"]
    again = await api.post("chat/clarifications", thread_id=thread, clarification="billing")
    assert again.status_code == 409
    assert [each["role"] for each in await api.messages("session_ann")] == [
        "user",
        "assistant",
        "user",
        "assistant",
    ]


async def test_4_the_next_question_has_the_same_thread(api: Api) -> None:
    made = await submit(api, "go", context={"capability": "interview"})
    thread = made["thread_id"]
    second = await api.post("chat/clarifications", thread_id=thread, clarification="one")
    body = second.json()
    assert (body["status"], body["thread_id"]) == ("clarification_needed", thread)
    assert body["clarification_question"] == "Second?\n- a\n- b"
    third = await api.post("chat/clarifications", thread_id=thread, clarification="two")
    assert third.json()["response_text"] == "one and two"


async def test_4_of_two_answers_at_once_one_is_taken(api: Api) -> None:
    thread = (await submit(api, "/clarify"))["thread_id"]
    answers = await asyncio.gather(
        *(
            api.post("chat/clarifications", thread_id=thread, clarification=f"answer {n}")
            for n in range(4)
        )
    )
    assert sorted(each.status_code for each in answers) == [200, 409, 409, 409]


async def test_4_an_unknown_or_foreign_thread_is_404(api: Api) -> None:
    thread = (await submit(api, "/clarify"))["thread_id"]
    for body in (
        {"thread_id": thread, "user_id": "bob"},
        {"thread_id": "unknown"},
        {"thread_id": "nul\0"},
    ):
        answer = await api.post("chat/clarifications", clarification="x", **body)
        assert answer.status_code == 404
    assert (await status(api, thread))["state"] == "waiting"


async def test_4_a_question_that_has_expired_is_409(api: Api) -> None:
    thread = (await submit(api, "/clarify"))["thread_id"]
    confirmation = (await submit(api, "/confirm"))["confirmation_id"]
    await api.node.database.write(lambda tx: tx.execute("UPDATE interrupt SET expires_at = 1"))
    late = await api.post("chat/clarifications", thread_id=thread, clarification="x")
    assert late.status_code == 409
    late = await api.post("confirmations", confirmation_id=confirmation, user_response="yes")
    assert late.status_code == 409


@pytest.mark.parametrize(
    ("word", "says"),
    [
        *((w, "Confirmed") for w in ("yes", " Y ", "OK", "confirm", "approve", "TRUE")),
        *((w, "Declined") for w in ("no", "n", "Cancel", "reject", "deny", " false\n")),
    ],
)
async def test_4_a_confirmation_is_approved_or_declined(api: Api, word: str, says: str) -> None:
    made = await submit(api, "/confirm")
    assert (made["status"], made["confirmation_needed"]) == ("confirmation_needed", True)
    given = {"confirmation_id": made["confirmation_id"], "user_response": word}
    answer = await api.post("confirmations", **given)
    assert answer.status_code == 200
    assert answer.json()["status"] == "completed"
    assert says in answer.json()["response_text"]
    assert (await api.messages("session_ann"))[-1]["content"] == answer.json()["response_text"]
    assert (await api.post("confirmations", **given)).status_code == 409


async def test_4_another_word_leaves_the_confirmation_open(api: Api) -> None:
    id = (await submit(api, "/confirm"))["confirmation_id"]
    for word in ("maybe", "  "):
        refused = await api.post("confirmations", confirmation_id=id, user_response=word)
        assert refused.status_code == 400
    taken = await api.post("confirmations", confirmation_id=id, user_response="yes")
    assert taken.status_code == 200


async def test_4_an_unknown_or_foreign_confirmation_is_404(api: Api) -> None:
    id = (await submit(api, "/confirm"))["confirmation_id"]
    thread = (await submit(api, "/clarify"))["thread_id"]
    for body in (
        {"confirmation_id": id, "user_id": "bob"},
        {"confirmation_id": "unknown"},
        {"confirmation_id": thread},
    ):
        answer = await api.post("confirmations", user_response="yes", **body)
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "loc"),
    [
        ("confirmations", {"confirmation_id": "", "user_response": "yes"}, "confirmation_id"),
        ("confirmations", {"confirmation_id": "x", "user_response": ""}, "user_response"),
        ("confirmations", {"confirmation_id": "x", "user_response": "y" * 1001}, "user_response"),
        ("chat/clarifications", {"thread_id": "", "clarification": "x"}, "thread_id"),
        ("chat/clarifications", {"thread_id": "x", "clarification": ""}, "clarification"),
        ("chat/clarifications", {"thread_id": "x", "clarification": "y" * 2001}, "clarification"),
        ("chat/clarifications", {"thread_id": "x", "clarification": "nul\0"}, "clarification"),
    ],
)
async def test_4_an_answer_that_does_not_validate_is_422(
    api: Api, path: str, body: Json, loc: str
) -> None:
    assert problem(await api.post(path, **body))[1] == ["body", loc]


async def test_4_the_status_of_what_waits(api: Api) -> None:
    sent = await api.send("/confirm")
    for id in (sent["request_id"], sent["confirmation_id"]):
        found = await status(api, id)
        assert set(found) == STATUS
        assert (found["state"], found["pending_interrupt"]) == ("waiting", "confirmation")
        assert found["completed_at"] is None
    thread = (await api.send("/clarify"))["thread_id"]
    assert (await status(api, thread))["pending_interrupt"] == "clarification"


async def test_4_the_status_of_what_ended(api: Api) -> None:
    for message in ("hi", "/fail"):
        found = await status(api, (await api.send(message))["request_id"])
        assert (found["state"], found["pending_interrupt"]) == ("terminated", None)
        assert found["priority"] == "normal"
        assert found["completed_at"] >= found["started_at"] >= found["created_at"]
        assert set(found["resource_usage"]) == {
            *("llm_calls", "tool_calls", "agent_hops", "tokens_in", "tokens_out"),
            "elapsed_seconds",
        }
        assert found["quota"] == {
            "max_llm_calls": 10,
            "max_tool_calls": 50,
            "max_agent_hops": 21,
            "timeout_seconds": 300,
        }


async def test_4_the_status_of_what_runs(api: Api, held: Held) -> None:
    context = {"capability": "held", "request_id": "mine"}
    running = asyncio.create_task(submit(api, "go", context=context))
    await held.reached.wait()
    assert (await status(api, "mine"))["state"] == "running"
    held.opened.set()
    assert (await running)["response_text"] == "held go"


async def test_4_an_unknown_request_is_404_by_name(api: Api) -> None:
    answer = await api.http.get("/api/v1/requests/nope/status")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Request not found: nope"})


async def test_4_metrics_count_chat_messages_too(api: Api) -> None:
    empty = (await api.http.get("/api/v1/metrics")).json()
    assert empty == {
        "total_processes": 0,
        "active_processes": 0,
        "processes_by_state": {},
        "system_llm_calls": 0,
        "system_tool_calls": 0,
        "system_tokens_in": 0,
        "system_tokens_out": 0,
    }
    await api.send("hi")
    await submit(api, "/clarify")
    counted = (await api.http.get("/api/v1/metrics")).json()
    assert (counted["total_processes"], counted["active_processes"]) == (2, 1)
    assert counted["processes_by_state"] == {"terminated": 1, "waiting": 1}
    assert counted["system_llm_calls"] == 1


async def test_4_the_total_of_processes_never_falls(api: Api) -> None:
    sent = await api.send("hi")
    before = (await api.http.get("/api/v1/metrics")).json()
    await api.call("DELETE", f"/api/v1/chat/sessions/{sent['session_id']}", soft="false")
    after = (await api.http.get("/api/v1/metrics")).json()
    assert after == before
    assert after["processes_by_state"] == {"terminated": 1}


async def test_a_request_with_the_same_key_is_done_once(api: Api) -> None:
    body = {"user_message": "hello", "user_id": "ann"}
    key = {"Idempotency-Key": "k"}
    first, again = [
        await api.http.post("/api/v1/requests", json=body, headers=key) for _ in range(2)
    ]
    assert first.json() == again.json()
    assert len(await api.messages("session_ann")) == 2


async def test_a_key_with_another_message_is_409_and_a_key_names_one_work_over_graphql_too(
    api: Api,
) -> None:
    body = {"user_message": "hello", "user_id": "ann"}
    key = {"Idempotency-Key": "k"}
    sent = (await api.http.post("/api/v1/requests", json=body, headers=key)).json()
    other = {**body, "user_message": "other"}
    assert (await api.http.post("/api/v1/requests", json=other, headers=key)).status_code == 409
    query = """mutation { sendMessage(input: {text: "hello", idempotencyKey: "k"}) {
        ... on SendMessagePayload { process { requestId reply } } } }"""
    answer = await api.http.post(
        "/graphql", json={"query": query}, headers={"X-Mission-User": "ann"}
    )
    process = answer.json()["data"]["sendMessage"]["process"]
    assert process["reply"] == sent["response_text"]
    assert len(await api.messages("session_ann")) == 2


async def test_7_commands_are_found_after_trimming(api: Api) -> None:
    assert (await api.send("  /clarify me"))["clarification_needed"] is True
    assert (await api.send("\n/confirm"))["confirmation_needed"] is True
    assert (await api.send(" /fail "))["status"] == "failed"
    assert (await api.send("no /fail"))["status"] == "completed"
