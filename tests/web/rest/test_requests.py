"""Requests, where GraphQL and REST meet, and where a question suggests its answers."""

from __future__ import annotations

from .conftest import Api, Json

OUTCOME = {
    *("request_id", "status", "response_text", "response"),
    *("clarification_needed", "clarification_question", "thread_id"),
    *("confirmation_needed", "confirmation_message", "confirmation_id"),
}


async def submit(api: Api, message: str, **body: object) -> Json:
    answer = await api.post("requests", user_message=message, **body)
    assert answer.status_code == 200, answer.text
    made: Json = answer.json()
    assert set(made) == OUTCOME
    assert made["response"] == made["response_text"]
    return made


async def test_4_the_next_question_has_the_same_thread(api: Api) -> None:
    made = await submit(api, "go", context={"capability": "interview"})
    thread = made["thread_id"]
    second = await api.post("chat/clarifications", thread_id=thread, clarification="one")
    body = second.json()
    assert (body["status"], body["thread_id"]) == ("clarification_needed", thread)
    assert body["clarification_question"] == "Second?\n- a\n- b"
    third = await api.post("chat/clarifications", thread_id=thread, clarification="two")
    assert third.json()["response_text"] == "one and two"


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
