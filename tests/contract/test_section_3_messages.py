"""Section 3: messages, sent, listed, edited, deleted and searched."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import ChosenDatabases

from .conftest import Api, B, Json, at_once, client_of, problem, refused
from .served import Served, served

MESSAGE = {
    *("message_id", "session_id", "role", "content", "created_at", "deleted_at", "edited_at"),
    "original_content",
}
SENT = {
    *("request_id", "session_id", "status", "response", "confirmation_needed"),
    *("confirmation_message", "confirmation_id", "clarification_needed"),
    *("clarification_question", "thread_id"),
}


def shown(message: Json) -> Json:
    """The message itself, once its shape has been checked."""
    assert set(message) == MESSAGE
    assert type(message["message_id"]) is int
    assert message["role"] in ("user", "assistant", "system")
    assert isinstance(message["content"], str)
    for name in ("deleted_at", "edited_at", "original_content"):
        assert isinstance(message[name], str | None)
    return message


def outcome(sent: Json, **expected: Any) -> Json:
    assert set(sent) == SENT
    for name in ("request_id", "session_id"):
        assert isinstance(sent[name], str)
        assert sent[name]
    rest = {name: sent[name] for name in SENT - {"request_id", "session_id"}}
    empty = {
        **dict.fromkeys(SENT - {"request_id", "session_id"}),
        "confirmation_needed": False,
        "clarification_needed": False,
    }
    assert rest == empty | expected
    return sent


# Sending


def test_3_a_send_is_completed_with_its_answer_and_both_messages_stored(api: Api) -> None:
    session = api.session()
    sent = api.send("hello there", session)
    outcome(sent, status="completed", response=sent["response"])
    assert "hello there" in sent["response"]
    assert sent["session_id"] == session
    question, answer = (shown(each) for each in api.messages(session))
    assert (question["role"], question["content"]) == ("user", "hello there")
    assert (answer["role"], answer["content"]) == ("assistant", sent["response"])
    for each in (question, answer):
        assert each["session_id"] == session
        assert each["deleted_at"] is each["edited_at"] is each["original_content"] is None


@pytest.mark.parametrize("body", [{}, {"session_id": None}, {"session_id": ""}])
def test_3_a_send_without_a_session_creates_one_untitled(api: Api, body: Json) -> None:
    sent = api.call("POST", f"{B}/messages", {"message": "hello"} | body).json()
    session = api.one(sent["session_id"])
    assert (session["user_id"], session["title"], session["message_count"]) == (api.user, None, 2)
    assert [each["session_id"] for each in api.sessions()] == [sent["session_id"]]


@pytest.mark.parametrize(
    "id", ["nope", "5408ae7a-4f9a-4bd6-bc57-2d6feb71ee84", "x" * 5000, "nul\0", " "]
)
def test_3_a_send_into_an_unknown_session_is_404_and_stores_nothing(api: Api, id: str) -> None:
    sent = api.call("POST", f"{B}/messages", {"message": "hi", "session_id": id})
    assert refused(sent, 404) == "Session not found or access denied"
    assert api.sessions(include_deleted="true") == []


def test_3_a_send_into_anothers_session_is_404_and_stores_nothing(api: Api, bob: Api) -> None:
    session = bob.session()
    sent = api.call("POST", f"{B}/messages", {"message": "hi", "session_id": session})
    assert refused(sent, 404) == "Session not found or access denied"
    assert bob.messages(session) == api.sessions() == []


@pytest.mark.parametrize(
    ("body", "type", "loc"),
    [
        ({"message": ""}, "string_too_short", ["body", "message"]),
        ({"message": "x" * 10_001}, "string_too_long", ["body", "message"]),
        ({"message": None}, "string_type", ["body", "message"]),
        ({"message": 5}, "string_type", ["body", "message"]),
        ({"message": ["x"]}, "string_type", ["body", "message"]),
        ({}, "missing", ["body", "message"]),
        ({"message": "m", "session_id": 5}, "string_type", ["body", "session_id"]),
    ],
)
def test_3_a_send_that_does_not_validate_is_422_and_stores_nothing(
    api: Api, body: Json, type: str, loc: list[str]
) -> None:
    session = api.session()
    answer = api.call("POST", f"{B}/messages", {"session_id": session} | body)
    assert problem(answer) == (type, loc)
    assert api.messages(session) == []
    assert len(api.sessions()) == 1


@pytest.mark.parametrize("text", ["x" * 10_000, "🙂" * 10_000, "x"])
def test_3_a_message_of_any_allowed_length_is_stored_whole(api: Api, text: str) -> None:
    sent = api.send(text)
    assert sent["status"] == "completed"
    assert api.messages(sent["session_id"])[0]["content"] == text


@pytest.mark.parametrize(
    "text",
    [
        " spaces ",
        "\n",
        "tab\t",
        "\r\n",
        "e\u0301",
        "é",
        "\ufeff",
        "\u202e",
        "\x1b[0m",
        "'; DROP TABLE message; --",
        "{}",
        "\\u0000",
    ],
)
def test_3_a_message_is_stored_to_the_letter(api: Api, text: str) -> None:
    sent = api.send(text)
    assert api.messages(sent["session_id"])[0]["content"] == text


@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800", "\\udfff", "\\udc00\\ud800"])
def test_3_nul_and_lone_surrogates_are_422_or_stored(api: Api, escape: str) -> None:
    for method, path, name in (
        ("POST", f"{B}/messages", "message"),
        ("POST", "/api/v1/requests", "user_message"),
        ("POST", f"{B}/sessions", "title"),
    ):
        body = f'{{"{name}": "a{escape}b", "user_id": "{api.user}"}}'
        answer = api.http.request(method, f"{path}?user_id={api.user}", content=body)
        assert answer.status_code in (200, 201, 422), answer.text


def test_3_a_confirmation_that_is_asked(api: Api) -> None:
    sent = api.send("/confirm")
    outcome(
        sent,
        status="completed",
        confirmation_needed=True,
        confirmation_message=sent["confirmation_message"],
        confirmation_id=sent["confirmation_id"],
    )
    assert sent["confirmation_message"]
    assert sent["confirmation_id"]


def test_3_a_clarification_that_is_asked(api: Api) -> None:
    sent = api.send("/clarify")
    outcome(
        sent,
        status="processing",
        clarification_needed=True,
        clarification_question=sent["clarification_question"],
        thread_id=sent["thread_id"],
    )
    assert sent["clarification_question"]
    assert sent["thread_id"]


def test_3_a_request_that_failed_is_200_with_its_error(api: Api) -> None:
    sent = api.send("/fail")
    outcome(sent, status="failed", response=sent["response"])
    assert isinstance(sent["response"], str | None)
    assert api.messages(sent["session_id"])[0]["content"] == "/fail"


def test_3_an_open_question_does_not_hold_up_the_next_message(api: Api) -> None:
    session = api.session()
    for question in ("/clarify", "/confirm", "/clarify"):
        api.send(question, session)
        assert api.send("next", session)["status"] == "completed"


def test_3_parallel_sends_to_one_session_all_succeed_and_lose_nothing(api: Api) -> None:
    session = api.session()
    number = 20

    def send(n: int) -> httpx.Response:
        return api.call("POST", f"{B}/messages", {"message": f"number {n}", "session_id": session})

    answers = [each.json() for each in at_once(number, send)]
    assert {each["status"] for each in answers} == {"completed"}
    assert all(f"number {n}" in each["response"] for n, each in enumerate(answers))
    assert len({each["request_id"] for each in answers}) == number
    found = api.messages(session)
    assert len(found) == 2 * number == api.one(session)["message_count"]
    said = [each["content"] for each in found if each["role"] == "user"]
    assert sorted(said) == sorted(f"number {n}" for n in range(number))


def test_3_a_send_that_takes_longer_than_the_limit_answers_and_goes_on(
    tmp_path: Path, databases: ChosenDatabases
) -> None:
    settings = {"rest_wait_seconds": 0.2, "default_capability": "held"}
    with served(tmp_path, **settings) as server, client_of(server) as http:
        api = Api(server, http, "ann")
        server.gates.gate("long")
        sent = api.send("long")
        outcome(sent, status="processing")
        assert api.status(sent["request_id"])["state"] == "running"
        assert [each["role"] for each in api.messages(sent["session_id"])] == ["user"]
        server.gates.opened["long"].set()
        while api.status(sent["request_id"])["state"] != "terminated":
            threading.Event().wait(0.02)
        assert [each["content"] for each in api.messages(sent["session_id"])] == [
            "long",
            "held long",
        ]


def test_3_a_client_that_leaves_loses_nothing(api: Api, server: Served, gate: str) -> None:
    session = api.session()
    body = {
        "user_message": gate,
        "user_id": api.user,
        "session_id": session,
        "context": {"capability": "held", "request_id": gate},
    }
    with pytest.raises(httpx.ReadTimeout), client_of(server) as http:
        http.post("/api/v1/requests", json=body, timeout=httpx.Timeout(60, read=0.3))
    assert server.gates.reached[gate].wait(60)
    server.gates.opened[gate].set()
    while api.status(gate)["state"] != "terminated":
        threading.Event().wait(0.02)
    assert [each["content"] for each in api.messages(session)] == [gate, f"held {gate}"]


# Listing


def test_3_messages_are_listed_oldest_first_and_cut_by_limit_and_offset(api: Api) -> None:
    session = api.session()
    for n in range(3):
        api.send(f"m{n}", session)
    found = [shown(each)["message_id"] for each in api.messages(session)]
    assert found == sorted(found)
    assert len(found) == 6

    def listed(**query: Any) -> list[int]:
        return [each["message_id"] for each in api.messages(session, **query)]

    assert listed(limit=1) == found[:1]
    assert listed(limit=2, offset=3) == found[3:5]
    assert listed(offset=6) == listed(offset=2**64) == []
    assert listed(limit=500) == found


def test_3_messages_of_equal_times_are_listed_by_id(api: Api, server: Served) -> None:
    session = api.send("hi")["session_id"]
    server.execute(
        "UPDATE message SET created_at = 5"
        " WHERE session_id IN (SELECT id FROM session WHERE public_id = ?)",
        session,
    )
    assert [each["role"] for each in api.messages(session)] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("query", "type"),
    [
        ({"limit": 0}, "greater_than_equal"),
        ({"limit": 501}, "less_than_equal"),
        ({"limit": "many"}, "int_parsing"),
        ({"offset": -1}, "greater_than_equal"),
        ({"include_deleted": "si"}, "bool_parsing"),
    ],
)
def test_3_parameters_of_messages_are_checked(api: Api, query: Json, type: str) -> None:
    answer = api.get(f"{B}/sessions/{api.session()}/messages", **query)
    assert problem(answer) == (type, ["query", *query])


def test_3_without_a_limit_100_messages_are_listed(api: Api, server: Served) -> None:
    session = api.send("hi")["session_id"]
    for _ in range(6):
        server.execute(
            "INSERT INTO message (session_id, role, content, created_at)"
            " SELECT m.session_id, m.role, m.content, m.created_at FROM message m"
            " JOIN session s ON s.id = m.session_id WHERE s.public_id = ?",
            session,
        )
    assert len(api.messages(session)) == 100
    assert len(api.messages(session, limit=500)) == 128


# Editing


def test_3_an_edit_keeps_the_first_text(api: Api) -> None:
    session = api.send("first")["session_id"]
    message = api.messages(session)[0]
    path = f"{B}/messages/{message['message_id']}"
    one = shown(api.call("PATCH", path, {"content": "second"}).json())
    assert one == message | {
        "content": "second",
        "original_content": "first",
        "edited_at": one["edited_at"],
    }
    assert one["edited_at"] is not None
    two = shown(api.call("PATCH", path, {"content": "third"}).json())
    assert (two["content"], two["original_content"]) == ("third", "first")
    assert two["edited_at"] > one["edited_at"]
    assert api.messages(session)[0] == two


def test_3_only_user_messages_can_be_edited(api: Api) -> None:
    session = api.send("hi")["session_id"]
    answer = api.messages(session)[1]
    edited = api.call("PATCH", f"{B}/messages/{answer['message_id']}", {"content": "x"})
    assert refused(edited, 400) == "Only user messages can be edited"
    assert api.messages(session)[1] == answer


def test_3_an_edit_of_what_is_unknown_foreign_or_deleted_is_404(api: Api, bob: Api) -> None:
    session = api.send("hi")["session_id"]
    one, two = (each["message_id"] for each in api.messages(session))
    for who, id in ((api, 2**40), (bob, one), (bob, two)):
        refused(who.call("PATCH", f"{B}/messages/{id}", {"content": "x"}), 404)
    for id in (one, two):
        api.call("DELETE", f"{B}/messages/{id}")
        refused(api.call("PATCH", f"{B}/messages/{id}", {"content": "x"}), 404)


@pytest.mark.parametrize(
    ("body", "type"),
    [
        ({"content": ""}, "string_too_short"),
        ({"content": "x" * 10_001}, "string_too_long"),
        ({"content": None}, "string_type"),
        ({}, "missing"),
    ],
)
def test_3_the_text_of_an_edit_is_checked(api: Api, body: Json, type: str) -> None:
    session = api.send("hi")["session_id"]
    message = api.messages(session)[0]
    answer = api.call("PATCH", f"{B}/messages/{message['message_id']}", body)
    assert problem(answer) == (type, ["body", "content"])
    assert api.messages(session)[0] == message


# Deleting


@pytest.mark.parametrize("role", [0, 1])
def test_3_a_message_of_either_role_is_hidden_by_a_soft_deletion(api: Api, role: int) -> None:
    session = api.send("findable")["session_id"]
    before = api.messages(session)
    path = f"{B}/messages/{before[role]['message_id']}"
    assert api.call("DELETE", path).status_code == 204
    assert api.messages(session) == [before[1 - role]]
    everything = api.messages(session, include_deleted="true")
    assert [each["deleted_at"] is None for each in everything] == [role == 1, role == 0]
    assert [each["message_id"] for each in api.search("findable")] == [
        before[1 - role]["message_id"]
    ]
    assert api.get(f"{B}/sessions/{session}/export").json()["messages"] == [before[1 - role]]
    assert api.one(session)["message_count"] == 1
    assert api.call("DELETE", path).status_code == 204
    assert api.messages(session, include_deleted="true") == everything


def test_3_a_hard_deletion_removes_and_twice_is_404(api: Api) -> None:
    session = api.send("hi")["session_id"]
    one, two = (each["message_id"] for each in api.messages(session))
    assert api.call("DELETE", f"{B}/messages/{one}", soft="false").status_code == 204
    refused(api.call("DELETE", f"{B}/messages/{one}", soft="false"), 404)
    refused(api.call("DELETE", f"{B}/messages/{one}"), 404)
    assert api.call("DELETE", f"{B}/messages/{two}").status_code == 204
    assert api.call("DELETE", f"{B}/messages/{two}", soft="false").status_code == 204
    assert api.messages(session, include_deleted="true") == []


def test_3_a_deletion_of_what_is_unknown_or_foreign_is_404(api: Api, bob: Api) -> None:
    session = api.send("hi")["session_id"]
    id = api.messages(session)[0]["message_id"]
    for soft in ("true", "false"):
        refused(bob.call("DELETE", f"{B}/messages/{id}", soft=soft), 404)
        refused(api.call("DELETE", f"{B}/messages/{2**40}", soft=soft), 404)
    assert len(api.messages(session)) == 2


def test_3_a_deleted_message_is_204_and_empty(api: Api, server: Served) -> None:
    session = api.send("hi")["session_id"]
    id = api.messages(session)[0]["message_id"]
    answer = server.raw("DELETE", f"{B}/messages/{id}?user_id={api.user}")
    assert (answer.status, answer.body, answer.header("content-type")) == (204, b"", None)


# Searching


def test_3_many_front_ends_that_search_as_one_user_are_all_answered(
    api: Api,
) -> None:
    api.send("haystack")
    found = at_once(150, lambda _: api.get(f"{B}/search", query="haystack"))
    assert {each.status_code for each in found} == {200}


def test_3_a_search_gives_messages_of_all_roles_newest_first(api: Api, bob: Api) -> None:
    bob.send("needle of another")
    one, two = api.session("A title"), api.session()
    api.send("the Needle", one)
    api.send("no such thing", one)
    api.send("NEEDLES", two)
    found = api.search("needle")
    assert all(set(each) == MESSAGE | {"session_title"} for each in found)
    assert [each["session_id"] for each in found] == [two, two, one, one]
    assert [each["role"] for each in found] == ["assistant", "user"] * 2
    assert [each["session_title"] for each in found[2:]] == ["A title"] * 2
    assert {each["session_title"] for each in found[:2]} <= {None, "NEEDLES"}
    ids = [each["message_id"] for each in found]
    assert ids == sorted(ids, reverse=True)
    assert api.search("needle", limit=3) == found[:3]
    shown({name: value for name, value in found[0].items() if name != "session_title"})


@pytest.mark.parametrize(
    "query",
    [
        *("%", "_", "*", '"', "'", "\\", "AND", "OR NOT", "NEAR(", "--", "🙂", "a%b", "a_b", "^x"),
        *("(", "col:x", ";", "[a-z]", "ß", "日本", "x y", " ", "{}", "$1", "?", "\t"),
    ],
)
def test_3_nothing_in_a_query_has_a_special_meaning(api: Api, query: str) -> None:
    session = api.session()
    sent = api.send(f"before{query}after", session)
    api.send("nothing-of-the-kind", session)
    assert sent["status"] == "completed"
    found = {each["content"] for each in api.search(query)}
    expected = {
        each["content"]
        for each in api.messages(session)
        if query.lower() in each["content"].lower()
    }
    assert found == expected
    assert "nothing-of-the-kind" not in found


def test_3_deleted_sessions_and_messages_are_not_found_and_edited_ones_are(api: Api) -> None:
    one, two = api.send("needle")["session_id"], api.send("needle")["session_id"]
    api.call("DELETE", f"{B}/sessions/{one}")
    assert {each["session_id"] for each in api.search("needle")} == {two}
    message = api.messages(two)[0]["message_id"]
    api.call("PATCH", f"{B}/messages/{message}", {"content": "thimble"})
    assert [each["role"] for each in api.search("needle")] == ["assistant"]
    assert [each["content"] for each in api.search("THIMBLE")] == ["thimble"]


@pytest.mark.parametrize(
    ("query", "type", "name"),
    [
        ({"query": None}, "missing", "query"),
        ({"query": ""}, "string_too_short", "query"),
        ({"query": "x" * 501}, "string_too_long", "query"),
        ({"limit": 0}, "greater_than_equal", "limit"),
        ({"limit": 501}, "less_than_equal", "limit"),
        ({"limit": "x"}, "int_parsing", "limit"),
    ],
)
def test_3_parameters_of_a_search_are_checked(api: Api, query: Json, type: str, name: str) -> None:
    answer = api.get(f"{B}/search", **{"query": "x"} | query)
    assert problem(answer) == (type, ["query", name])


def test_3_the_longest_query_is_taken(api: Api) -> None:
    text = "🙂" * 500
    api.send(text + "!")
    assert api.search(text)[-1]["content"] == text + "!"
    for odd in ("\0", "%ff", "%ed%a0%80"):
        answer = api.http.get(f"{B}/search?user_id={api.user}&query={odd if '%' in odd else '%00'}")
        assert answer.status_code in (200, 422)
