"""Section 3 of the contract: messages and search."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from mission_system import Caller

from .conftest import Api, B, Held, problem

FIELDS = {
    *("message_id", "session_id", "role", "content"),
    *("created_at", "deleted_at", "edited_at", "original_content"),
}
OUTCOME = {
    *("request_id", "session_id", "status", "response"),
    *("confirmation_needed", "confirmation_message", "confirmation_id"),
    *("clarification_needed", "clarification_question", "thread_id"),
}


async def test_3_a_send_answers_with_the_reply_and_stores_both(api: Api) -> None:
    id = await api.session()
    sent = await api.send("hello", id)
    assert set(sent) == OUTCOME
    assert (sent["status"], sent["session_id"]) == ("completed", id)
    assert "hello" in sent["response"]
    listed = await api.messages(id)
    assert [each["role"] for each in listed] == ["user", "assistant"]
    assert [each["content"] for each in listed] == ["hello", sent["response"]]
    assert set(listed[0]) == FIELDS
    assert [type(each["message_id"]) for each in listed] == [int, int]
    assert listed[0]["message_id"] < listed[1]["message_id"]


@pytest.mark.parametrize("session", [None, ""])
async def test_3_a_send_without_a_session_creates_one(api: Api, session: str | None) -> None:
    sent = await api.send("hello", session)
    found = (await api.get(f"{B}/sessions/{sent['session_id']}")).json()
    assert (found["title"], found["message_count"]) == (None, 2)


async def test_3_a_send_into_no_session_of_the_user_is_404_and_stores_nothing(api: Api) -> None:
    foreign = await api.session(user="bob")
    for id in (foreign, str(uuid.uuid4()), "nope", "x" * 300, "nul\0"):
        answer = await api.call("POST", f"{B}/messages", {"message": "hi", "session_id": id})
        assert answer.status_code == 404
        assert answer.json() == {"detail": "Session not found or access denied"}
    assert await api.sessions() == []
    assert await api.messages(foreign, user_id="bob") == []


@pytest.mark.parametrize(
    ("message", "type"),
    [("", "string_too_short"), ("é" * 10_001, "string_too_long"), ("a\0b", "value_error")],
)
async def test_3_a_message_that_does_not_validate_stores_nothing(
    api: Api, message: str, type: str
) -> None:
    answer = await api.call("POST", f"{B}/messages", {"message": message})
    assert problem(answer) == (type, ["body", "message"])
    assert await api.sessions() == []


async def test_3_the_longest_message_is_taken(api: Api) -> None:
    assert (await api.send("🙂" * 10_000))["status"] == "completed"


async def test_3_a_confirmation_that_is_asked(api: Api) -> None:
    sent = await api.send("/confirm")
    assert (sent["status"], sent["response"]) == ("completed", None)
    assert sent["confirmation_needed"] is True
    assert sent["confirmation_message"]
    assert sent["confirmation_id"]
    assert sent["clarification_needed"] is False


async def test_3_a_clarification_that_is_asked(api: Api) -> None:
    sent = await api.send("/clarify")
    assert (sent["status"], sent["response"]) == ("processing", None)
    assert (sent["confirmation_needed"], sent["clarification_needed"]) == (False, True)
    assert sent["clarification_question"]
    assert sent["thread_id"]


async def test_3_a_failure_is_200_with_its_text(api: Api) -> None:
    sent = await api.send("/fail")
    assert sent["status"] == "failed"
    assert sent["response"]


async def test_3_an_open_question_does_not_hold_up_the_next_message(api: Api) -> None:
    id = await api.session()
    await api.send("/clarify", id)
    assert (await api.send("next", id))["status"] == "completed"


async def test_3_parallel_sends_to_one_session_lose_nothing(api: Api) -> None:
    id = await api.session()
    sent = await asyncio.gather(*(api.send(f"message {n}", id) for n in range(20)))
    assert {each["status"] for each in sent} == {"completed"}
    assert len({each["request_id"] for each in sent}) == 20
    listed = await api.messages(id)
    assert len(listed) == (await api.get(f"{B}/sessions/{id}")).json()["message_count"] == 40
    assert sorted(each["message_id"] for each in listed) == [each["message_id"] for each in listed]


@pytest.mark.parametrize("changed", [{"rest_wait_seconds": 0.05}])
async def test_3_a_send_that_takes_too_long_answers_and_goes_on(api: Api, held: Held) -> None:
    session = await api.node.chat.create_session(Caller("ann"), capability="held")
    sent = await api.send("hi", session.session_id)
    assert (sent["status"], sent["response"]) == ("processing", None)
    assert (sent["confirmation_needed"], sent["clarification_needed"]) == (False, False)
    held.opened.set()
    async with asyncio.timeout(20):
        while len(await api.messages(session.session_id)) < 2:
            await asyncio.sleep(0.01)


async def test_3_messages_are_cut_by_limit_and_offset(api: Api) -> None:
    id = await api.session()
    for text in ("a", "b"):
        await api.send(text, id)
    listed = await api.messages(id)
    assert await api.messages(id, limit=2, offset=1) == listed[1:3]
    for name, value in (("limit", 0), ("limit", 501), ("offset", -1)):
        answer = await api.get(f"{B}/sessions/{id}/messages", **{name: value})
        assert problem(answer)[1] == ["query", name]


async def test_3_an_edit_keeps_the_first_text(api: Api) -> None:
    id = await api.session()
    await api.send("one", id)
    message = (await api.messages(id))[0]
    assert message["edited_at"] is message["original_content"] is None
    path = f"{B}/messages/{message['message_id']}"
    for text in ("two", "three"):
        edited = await api.call("PATCH", path, {"content": text})
        assert edited.status_code == 200
        assert (edited.json()["content"], edited.json()["original_content"]) == (text, "one")
        assert edited.json()["edited_at"] is not None
    assert (await api.messages(id))[0] == edited.json()


async def test_3_only_user_messages_can_be_edited(api: Api) -> None:
    id = await api.session()
    await api.send("one", id)
    reply = (await api.messages(id))[1]["message_id"]
    answer = await api.call("PATCH", f"{B}/messages/{reply}", {"content": "x"})
    assert (answer.status_code, answer.json()) == (
        400,
        {"detail": "Only user messages can be edited"},
    )


async def test_3_a_message_that_is_unknown_foreign_or_deleted_is_not_edited(api: Api) -> None:
    id = await api.session()
    await api.send("one", id)
    path = f"{B}/messages/{(await api.messages(id))[0]['message_id']}"
    body = {"content": "x"}
    assert (await api.call("PATCH", path, body, user_id="bob")).status_code == 404
    assert (await api.call("PATCH", f"{B}/messages/999", body)).status_code == 404
    assert (await api.call("DELETE", path, user_id="bob")).status_code == 404
    assert (await api.call("DELETE", path)).status_code == 204
    assert (await api.call("PATCH", path, body)).status_code == 404


@pytest.mark.parametrize(
    ("content", "type"), [("", "string_too_short"), ("x" * 10_001, "string_too_long")]
)
async def test_3_the_content_of_an_edit_is_bounded(api: Api, content: str, type: str) -> None:
    answer = await api.call("PATCH", f"{B}/messages/1", {"content": content})
    assert problem(answer) == (type, ["body", "content"])


async def test_3_messages_are_deleted_softly_and_for_good(api: Api) -> None:
    id = await api.session()
    await api.send("one", id)
    user, reply = (f"{B}/messages/{each['message_id']}" for each in await api.messages(id))
    for _ in range(2):
        gone = await api.call("DELETE", user)
        assert (gone.status_code, gone.content) == (204, b"")
    assert len(await api.messages(id)) == 1
    assert len(await api.messages(id, include_deleted="true")) == 2
    assert (await api.get(f"{B}/sessions/{id}")).json()["message_count"] == 1
    assert (await api.get(f"{B}/search", query="one")).json() != []
    assert (await api.call("DELETE", reply, soft="false")).status_code == 204
    assert (await api.call("DELETE", reply, soft="false")).status_code == 404
    assert (await api.get(f"{B}/search", query="one")).json() == []


async def test_3_search_gives_messages_with_the_title_of_their_session(api: Api) -> None:
    id = await api.session("T")
    await api.send("find ME", id)
    found = (await api.get(f"{B}/search", query="FIND me")).json()
    assert [each["role"] for each in found] == ["assistant", "user"]
    assert set(found[0]) == FIELDS | {"session_title"}
    assert {each["session_title"] for each in found} == {"T"}
    assert len((await api.get(f"{B}/search", query="find me", limit=1)).json()) == 1
    assert (await api.get(f"{B}/search", query="find me", user_id="bob")).json() == []


@pytest.mark.parametrize("query", ["%", "_", "*", '"', "'", "\\", "AND", "NEAR(", "--", "🙂", "%%"])
async def test_3_nothing_in_a_query_has_a_special_meaning(api: Api, query: str) -> None:
    id = await api.session()
    await api.send("plain", id)
    assert (await api.get(f"{B}/search", query=query)).json() == []
    await api.send(f"with {query} inside", id)
    found = (await api.get(f"{B}/search", query=query)).json()
    assert {query in each["content"] for each in found} == {True}


@pytest.mark.parametrize(
    ("query", "limit", "place"),
    [(None, 1, "query"), ("", 1, "query"), ("x" * 501, 1, "query"), ("x", 0, "limit")],
)
async def test_3_a_search_is_bounded(api: Api, query: str | None, limit: int, place: str) -> None:
    answer = await api.get(f"{B}/search", query=query, limit=limit)
    assert problem(answer)[1] == ["query", place]


async def test_a_send_with_the_same_key_is_done_once(api: Api, held: Held) -> None:
    id = await api.session()
    key = {"Idempotency-Key": "k1"}
    path = f"{B}/messages?user_id=ann"
    body = {"message": "hello", "session_id": id}
    first, again = [await api.http.post(path, json=body, headers=key) for _ in range(2)]
    assert first.json() == again.json()
    assert len(await api.messages(id)) == 2
    other = await api.http.post(path, json={"message": "other"}, headers=key)
    assert other.status_code == 409
    foreign = await api.http.post(
        f"{B}/messages?user_id=bob", json={"message": "hello"}, headers=key
    )
    assert foreign.json()["request_id"] != ""
    assert foreign.status_code == 200
    empty = await api.http.post(path, json=body, headers={"Idempotency-Key": ""})
    assert empty.status_code == 400


async def test_sends_with_one_key_at_once_are_done_once(api: Api) -> None:
    id = await api.session()
    body = {"message": "hello", "session_id": id}
    answers = await asyncio.gather(
        *(
            api.http.post(
                f"{B}/messages?user_id=ann", json=body, headers={"Idempotency-Key": "same"}
            )
            for _ in range(5)
        )
    )
    assert len({each.text for each in answers}) == 1
    assert len(await api.messages(id)) == 2
