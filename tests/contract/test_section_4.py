"""Sections 4 and 7: requests, clarifications, confirmations, and the mock that is certain."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from databases import ChosenDatabases

from .conftest import Api, B, Json, at_once, client_of, problem, refused
from .served import WRITTEN, Served, served

SUBMITTED = {
    *("request_id", "status", "response_text", "response", "clarification_needed"),
    *("clarification_question", "thread_id", "confirmation_needed", "confirmation_message"),
    "confirmation_id",
}
STATUS = {
    *("pid", "state", "priority", "current_stage", "created_at", "started_at", "completed_at"),
    *("resource_usage", "quota", "pending_interrupt"),
}
USAGE = {"llm_calls", "tool_calls", "agent_hops", "tokens_in", "tokens_out", "elapsed_seconds"}
QUOTA = {
    "max_llm_calls": 10,
    "max_tool_calls": 50,
    "max_agent_hops": 21,
    "timeout_seconds": 300,
}
METRICS = {
    *("total_processes", "active_processes", "system_llm_calls", "system_tool_calls"),
    *("system_tokens_in", "system_tokens_out", "processes_by_state"),
}


def outcome(made: Json, **expected: Any) -> Json:
    assert set(made) == SUBMITTED
    assert isinstance(made["request_id"], str)
    assert made["response"] == made["response_text"]
    rest = {name: made[name] for name in SUBMITTED - {"request_id", "response"}}
    empty = {
        **dict.fromkeys(SUBMITTED - {"request_id", "response"}),
        "confirmation_needed": False,
        "clarification_needed": False,
    }
    assert rest == empty | expected
    return made


def completed(made: Json) -> Json:
    assert made["response_text"]
    return outcome(made, status="completed", response_text=made["response_text"])


def clarify(api: Api, thread: str, text: str = "this", **more: Any) -> httpx.Response:
    return api.post("chat/clarifications", thread_id=thread, clarification=text, **more)


def confirm(api: Api, id: str, word: str = "yes", **more: Any) -> httpx.Response:
    return api.post("confirmations", confirmation_id=id, user_response=word, **more)


# Requests


def test_4_a_request_is_completed_and_stored_in_the_users_own_session(api: Api) -> None:
    made = completed(api.submit("hello there"))
    assert "hello there" in made["response_text"]
    found = api.messages(f"session_{api.user}")
    assert [each["role"] for each in found] == ["user", "assistant"]
    assert [each["content"] for each in found] == ["hello there", made["response_text"]]


@pytest.mark.parametrize("fill", ["u", "🙂"])
def test_4_the_session_of_the_longest_user_id_has_its_whole_name(api: Api, fill: str) -> None:
    long = api.of(api.user + fill * (255 - len(api.user)))
    made = completed(long.submit("hello"))
    session = f"session_{long.user}"
    assert long.one(session)["session_id"] == session
    assert [each["session_id"] for each in long.sessions()] == [session]
    assert long.messages(session)[-1]["content"] == made["response_text"]
    assert long.send("more", session)["session_id"] == session
    exported = long.get(f"{B}/sessions/{quote(session)}/export")
    assert exported.json()["session"]["session_id"] == session
    assert long.search("hello")[0]["session_id"] == session
    assert long.call("DELETE", f"{B}/sessions/{quote(session)}", soft="false").status_code == 204


def test_4_a_clarification_that_is_asked(api: Api) -> None:
    made = api.submit("/clarify")
    outcome(
        made,
        status="clarification_needed",
        clarification_needed=True,
        clarification_question=made["clarification_question"],
        thread_id=made["thread_id"],
    )
    assert made["clarification_question"]
    assert made["thread_id"]


def test_4_a_confirmation_that_is_asked(api: Api) -> None:
    made = api.submit("/confirm")
    outcome(
        made,
        status="confirmation_needed",
        confirmation_needed=True,
        confirmation_message=made["confirmation_message"],
        confirmation_id=made["confirmation_id"],
    )
    assert made["confirmation_message"]
    assert made["confirmation_id"]


def test_4_a_failure_is_200_with_its_reason(api: Api) -> None:
    made = api.submit("/fail")
    assert made["response_text"]
    outcome(made, status="failed", response_text=made["response_text"])


def test_4_a_failure_of_the_capabilitys_own_is_200_too(api: Api) -> None:
    assert api.submit("x", context={"capability": "broken"})["status"] == "failed"


@pytest.mark.parametrize(
    ("body", "type", "loc"),
    [
        ({}, "missing", ["body", "user_message"]),
        ({"user_message": ""}, "string_too_short", ["body", "user_message"]),
        ({"user_message": "x" * 10_001}, "string_too_long", ["body", "user_message"]),
        ({"user_message": None}, "string_type", ["body", "user_message"]),
        ({"user_message": "m", "user_id": ""}, "string_too_short", ["body", "user_id"]),
        ({"user_message": "m", "user_id": "x" * 256}, "string_too_long", ["body", "user_id"]),
        ({"user_message": "m", "session_id": "x" * 256}, "string_too_long", ["body", "session_id"]),
        ({"user_message": "m", "session_id": 5}, "string_type", ["body", "session_id"]),
        (
            {"user_message": "m", "conversation_history": {}},
            "list_type",
            ["body", "conversation_history"],
        ),
        ({"user_message": "m", "context": []}, "dict_type", ["body", "context"]),
        ({"user_message": "m", "context": "x"}, "dict_type", ["body", "context"]),
    ],
)
def test_4_a_request_that_does_not_validate_is_422(
    api: Api, body: Json, type: str, loc: list[str]
) -> None:
    assert problem(api.post("requests", **body)) == (type, loc)
    assert api.sessions() == []


def test_4_history_and_context_are_optional_and_of_any_content(api: Api) -> None:
    for more in (
        {"conversation_history": None, "context": None, "session_id": None},
        {"conversation_history": [], "context": {}, "session_id": ""},
        {"conversation_history": [{"role": "user", "content": "hi"}, 5, None, ["x"]]},
        {"context": {"anything": [1, 2.5, None, {"deep": ["\u0000", "🙂"]}], "": 1}},
        {"context": {"number": 10**30}},
    ):
        completed(api.submit("hi", **more))
    assert len(api.messages(f"session_{api.user}")) == 10


def test_4_a_context_may_be_as_deep_as_a_body_may(api: Api) -> None:
    deep: Any = {}
    for _ in range(198):
        deep = {"deep": deep}
    completed(api.submit("hi", context=deep))
    asked = api.submit("/clarify", context=deep)
    completed(clarify(api, asked["thread_id"]).json())
    for levels in (252, 253, 254):
        context: Any = {}
        for _ in range(levels - 1):
            context = {"deep": context}
        answer = api.post("requests", user_message="hi", context=context)
        assert problem(answer) == ("json_invalid", ["body", 0])


def test_4_the_context_picks_a_capability(api: Api) -> None:
    made = api.submit("word", context={"capability": "scholar"})
    assert made["response_text"] == "word means word"


def test_4_an_unknown_capability_is_400_and_stores_nothing(api: Api) -> None:
    for name in ("nobody", "Assistant", "x" * 5000, 5, ["assistant"], "nul\0"):
        refused(api.post("requests", user_message="m", context={"capability": name}), 400)
    assert api.sessions() == []


def test_4_without_a_default_there_must_be_one_choice(
    tmp_path: Path, databases: ChosenDatabases
) -> None:
    settings = {"default_capability": "nobody"}
    with served(tmp_path, **settings) as server, client_of(server) as http:
        api = Api(server, http, "ann")
        detail = refused(api.post("requests", user_message="m"), 400)
        for name in ("assistant", "interview", "scholar"):
            assert name in detail
        sent = refused(api.call("POST", f"{B}/messages", {"message": "hi"}), 400)
        assert "assistant" in sent
        assert api.sessions() == []
        completed(api.submit("m", context={"capability": "assistant"}))
        # A name in the settings that nobody serves is a mistake, and shows before anybody calls.
        ready = http.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unhealthy")
        told = ready.json()["components"]["capability"]
        assert told["status"] == "down"
        assert "MISSION_DEFAULT_CAPABILITY names 'nobody'" in told["message"]
        assert "assistant" in told["message"]


def test_4_a_request_id_is_used_once(api: Api) -> None:
    id = f"mine of {api.user}"
    made = completed(api.submit("hello", context={"request_id": id}))
    assert made["request_id"] == id
    assert api.status(id)["state"] == "terminated"
    refused(api.post("requests", user_message="again", context={"request_id": id}), 409)
    assert len(api.messages(f"session_{api.user}")) == 2
    assert completed(api.submit("x", context={"request_id": None}))["request_id"] != id


def test_4_the_request_id_of_another_user_is_free(api: Api, bob: Api) -> None:
    id = f"shared by {api.user}"
    for who in (api, bob):
        assert who.submit("hello", context={"request_id": id})["request_id"] == id


def test_4_a_session_that_the_caller_does_not_have_is_created(api: Api, bob: Api) -> None:
    theirs = bob.session("theirs")
    completed(api.submit("hello", session_id=theirs))
    assert api.messages(theirs)[0]["content"] == "hello"
    assert bob.messages(theirs) == []
    assert api.one(theirs)["title"] is None
    completed(api.submit("again", session_id=theirs))
    assert len(api.messages(theirs)) == 4


def test_4_a_session_of_any_name_works_everywhere(api: Api) -> None:
    name = "a b'ü🙂%41?&#"
    completed(api.submit("hello", session_id=name))
    path = f"{B}/sessions/{quote(name, safe='')}"
    assert api.get(path).json()["session_id"] == name
    assert len(api.get(f"{path}/messages").json()) == 2
    assert api.get(f"{path}/export").headers["content-disposition"].startswith("attachment; ")
    assert api.send("more", name)["session_id"] == name


def test_4_a_deleted_session_takes_no_request(api: Api) -> None:
    session = api.session()
    api.call("DELETE", f"{B}/sessions/{session}")
    refused(api.post("requests", user_message="m", session_id=session), 404)
    assert api.messages(session, include_deleted="true") == []


# Clarifications


@pytest.mark.parametrize("way", ["requests", "messages"])
def test_4_a_clarification_resumes_the_request_with_the_text(api: Api, way: str) -> None:
    asked = api.submit("/clarify") if way == "requests" else api.send("/clarify")
    session = asked.get("session_id", f"session_{api.user}")
    answer = clarify(api, asked["thread_id"], "the second one")
    assert answer.status_code == 200
    made = completed(answer.json())
    assert made["request_id"] == asked["request_id"]
    assert "the second one" in made["response_text"]
    said = [(each["role"], each["content"]) for each in api.messages(session)]
    assert said == [
        ("user", "/clarify"),
        ("assistant", asked["clarification_question"]),
        ("user", "the second one"),
        ("assistant", made["response_text"]),
    ]


@pytest.mark.parametrize("text", [" ", "\n", "  padded\t\n", " " * 2000])
def test_4_a_clarification_reaches_the_request_as_it_was_sent(api: Api, text: str) -> None:
    asked = api.submit("x", context={"capability": "interview"})
    again = clarify(api, asked["thread_id"], text).json()
    assert again["clarification_question"] == "Second?"
    made = completed(clarify(api, asked["thread_id"], "two").json())
    assert made["response_text"] == f"{text} and two"
    assert api.messages(f"session_{api.user}")[2]["content"] == text


def test_4_the_next_question_comes_with_the_same_thread(api: Api) -> None:
    asked = api.submit("x", context={"capability": "interview"})
    assert asked["clarification_question"] == "First?"
    again = clarify(api, asked["thread_id"], "one").json()
    outcome(
        again,
        status="clarification_needed",
        clarification_needed=True,
        clarification_question="Second?",
        thread_id=asked["thread_id"],
    )
    made = completed(clarify(api, asked["thread_id"], "two").json())
    assert made["response_text"] == "one and two"
    assert made["request_id"] == asked["request_id"] == again["request_id"]


def test_4_a_question_of_a_child_is_answered_in_the_thread_of_its_request(api: Api) -> None:
    asked = api.submit("x", context={"capability": "parent"})
    again = clarify(api, asked["thread_id"], "one").json()
    assert (again["clarification_question"], again["thread_id"]) == ("Second?", asked["thread_id"])
    made = completed(clarify(api, asked["thread_id"], "two").json())
    assert made["response_text"] == "the child said: one and two"


@pytest.mark.parametrize(
    ("capability", "question", "answer", "reply"),
    [
        ("reviewer", "Look at this\n- approve\n- reject", "Reject", "reviewed: reject"),
        ("checkpointer", "Go on?\n- continue\n- stop", "continue", "went on"),
    ],
)
def test_4_a_question_of_any_kind_is_asked_as_a_clarification_and_answered_as_one(
    api: Api, capability: str, question: str, answer: str, reply: str
) -> None:
    asked = api.submit("x", context={"capability": capability})
    outcome(
        asked,
        status="clarification_needed",
        clarification_needed=True,
        clarification_question=question,
        thread_id=asked["thread_id"],
    )
    other = refused(clarify(api, asked["thread_id"], "whatever"), 400)
    assert all(option.strip("- ") in other for option in question.splitlines()[1:])
    assert api.status(asked["request_id"])["state"] == "waiting"
    made = completed(clarify(api, asked["thread_id"], answer).json())
    assert made["response_text"] == reply
    said = [each["content"] for each in api.messages(f"session_{api.user}")]
    assert said == ["x", question.splitlines()[0], answer.lower(), reply]
    refused(clarify(api, asked["thread_id"], answer), 409)


def test_4_a_question_is_answered_by_its_own_id_too(api: Api, bob: Api, server: Served) -> None:
    def question(kind: str) -> str:
        async def read() -> Any:
            return await server.plugin.runtime.persistence.fetch_one(
                "SELECT id FROM interrupt WHERE user_id = ? AND kind = ?", (api.user, kind)
            )

        return str(server.run(read())[0])

    api.submit("x", context={"capability": "reviewer"})
    api.submit("x", context={"capability": "asking"})
    refused(clarify(bob, question("agent_review"), "approve"), 404)
    refused(clarify(api, question("resource_exhausted"), "extend"), 404)
    completed(clarify(api, question("agent_review"), "approve").json())


def test_4_an_unknown_or_foreign_thread_is_404(api: Api, bob: Api) -> None:
    thread = api.submit("/clarify")["thread_id"]
    for who, id in ((api, "unknown"), (bob, thread), (api, "nul\0"), (api, "x" * 5000)):
        refused(clarify(who, id), 404)
    assert api.status(thread)["state"] == "waiting"
    completed(clarify(api, thread).json())


def test_4_a_request_that_never_asked_is_no_thread(api: Api) -> None:
    for made in (api.submit("hello"), api.submit("/confirm"), api.send("hello")):
        for id in (made["request_id"], api.status(made["request_id"])["pid"]):
            refused(clarify(api, id), 404)


def test_4_a_thread_whose_child_asked_was_answered(api: Api) -> None:
    thread = api.submit("x", context={"capability": "parent"})["thread_id"]
    for text in ("one", "two"):
        assert clarify(api, thread, text).status_code == 200
    refused(clarify(api, thread, "three"), 409)


def test_4_a_clarification_is_given_once(api: Api) -> None:
    asked = api.submit("/clarify")
    clarify(api, asked["thread_id"])
    before = api.messages(f"session_{api.user}")
    for _ in range(2):
        refused(clarify(api, asked["thread_id"], "again"), 409)
    assert api.messages(f"session_{api.user}") == before


def test_4_of_many_answers_at_once_one_is_taken(api: Api) -> None:
    thread = api.submit("/clarify")["thread_id"]
    answers = at_once(8, lambda n: clarify(api, thread, f"answer {n}"))
    assert sorted(each.status_code for each in answers) == [200] + [409] * 7
    assert len(api.messages(f"session_{api.user}")) == 4


def test_4_a_question_lives_for_its_time_and_no_longer(api: Api, server: Served) -> None:
    thread = api.submit("/clarify")["thread_id"]
    confirmation = api.submit("/confirm")["confirmation_id"]

    def seconds(kind: str) -> float:
        async def read() -> Any:
            return await server.plugin.runtime.persistence.fetch_one(
                "SELECT expires_at - created_at FROM interrupt WHERE user_id = ? AND kind = ?",
                (api.user, kind),
            )

        return float(server.run(read())[0]) / 1_000_000

    assert seconds("clarification") == 24 * 3600
    assert seconds("confirmation") == 3600
    server.execute("UPDATE interrupt SET expires_at = 1 WHERE user_id = ?", api.user)
    refused(clarify(api, thread), 409)
    refused(confirm(api, confirmation), 409)


@pytest.mark.parametrize(
    ("body", "type", "name"),
    [
        ({"thread_id": ""}, "string_too_short", "thread_id"),
        ({"thread_id": None}, "string_type", "thread_id"),
        ({"clarification": ""}, "string_too_short", "clarification"),
        ({"clarification": "x" * 2001}, "string_too_long", "clarification"),
        ({"user_id": ""}, "string_too_short", "user_id"),
        ({"user_id": "x" * 256}, "string_too_long", "user_id"),
        ({"session_id": "x" * 256}, "string_too_long", "session_id"),
    ],
)
def test_4_a_clarification_is_checked(api: Api, body: Json, type: str, name: str) -> None:
    thread = api.submit("/clarify")["thread_id"]
    given = {"thread_id": thread, "clarification": "c"} | body
    assert problem(api.post("chat/clarifications", **given)) == (type, ["body", name])
    assert api.status(thread)["state"] == "waiting"
    completed(clarify(api, thread, "🙂" * 2000, session_id="x" * 255).json())


# Confirmations


@pytest.mark.parametrize(
    "word", ["yes", "y", "ok", "confirm", "approve", "true", " YES ", "Ok\n", "TRUE", "\tApprove"]
)
def test_4_a_confirmation_is_approved(api: Api, word: str) -> None:
    asked = api.submit("/confirm")
    answer = confirm(api, asked["confirmation_id"], word)
    assert answer.status_code == 200
    made = completed(answer.json())
    assert made["request_id"] == asked["request_id"]
    assert "Confirmed" in made["response_text"]
    assert api.messages(f"session_{api.user}")[-1]["content"] == made["response_text"]


@pytest.mark.parametrize(
    "word", ["no", "n", "cancel", "reject", "deny", "false", " NO ", "Deny\r\n", "FALSE", "Cancel"]
)
def test_4_a_confirmation_is_declined(api: Api, word: str) -> None:
    sent = api.send("/confirm")
    made = completed(confirm(api, sent["confirmation_id"], word).json())
    assert "Declined" in made["response_text"]
    last = api.messages(sent["session_id"])[-1]
    assert (last["role"], last["content"]) == ("assistant", made["response_text"])


@pytest.mark.parametrize("word", ["yes", "no"])
def test_4_the_action_that_is_held_back_runs_when_it_is_approved_and_only_then(
    api: Api, word: str
) -> None:
    text = f"{word} of {api.user}"
    asked = api.submit(text, context={"capability": "clerk"})
    assert asked["status"] == "confirmation_needed"
    assert text not in WRITTEN
    made = completed(confirm(api, asked["confirmation_id"], word).json())
    assert WRITTEN.count(text) == (word == "yes")
    assert (made["response_text"] == f"wrote {text}") is (word == "yes")
    last = api.messages(f"session_{api.user}")[-1]
    assert (last["role"], last["content"]) == ("assistant", made["response_text"])


@pytest.mark.parametrize("word", ["yes", "no"])
def test_4_a_confirmation_is_never_answered_with_nothing(api: Api, word: str) -> None:
    asked = api.submit("x", context={"capability": "taciturn"})
    made = completed(confirm(api, asked["confirmation_id"], word).json())
    last = api.messages(f"session_{api.user}")[-1]
    assert (last["role"], last["content"]) == ("assistant", made["response_text"])


@pytest.mark.parametrize("word", ["maybe", "yes please", "0", "1", "да", " ", "yess", "\0", "ja"])
def test_4_other_words_are_400_and_leave_it_open(api: Api, word: str) -> None:
    id = api.submit("/confirm")["confirmation_id"]
    refused(confirm(api, id, word), 400)
    completed(confirm(api, id).json())


def test_4_a_confirmation_is_answered_once(api: Api) -> None:
    id = api.submit("/confirm")["confirmation_id"]
    confirm(api, id, "no")
    for word in ("no", "yes"):
        refused(confirm(api, id, word), 409)
    assert "Declined" in api.messages(f"session_{api.user}")[-1]["content"]


def test_4_an_unknown_or_foreign_confirmation_is_404(api: Api, bob: Api) -> None:
    id = api.submit("/confirm")["confirmation_id"]
    thread = api.submit("/clarify")["thread_id"]
    for who, given in ((api, "unknown"), (bob, id), (api, "nul\0"), (api, "x" * 5000)):
        refused(confirm(who, given), 404)
    assert confirm(api, thread).status_code in (404, 409)
    completed(confirm(api, id).json())


@pytest.mark.parametrize(
    ("body", "type", "name"),
    [
        ({"confirmation_id": ""}, "string_too_short", "confirmation_id"),
        ({"confirmation_id": None}, "string_type", "confirmation_id"),
        ({"user_response": ""}, "string_too_short", "user_response"),
        ({"user_response": "x" * 1001}, "string_too_long", "user_response"),
        ({"user_response": True}, "string_type", "user_response"),
        ({"user_id": ""}, "string_too_short", "user_id"),
        ({"user_id": "x" * 256}, "string_too_long", "user_id"),
    ],
)
def test_4_a_confirmation_is_checked(api: Api, body: Json, type: str, name: str) -> None:
    given = {"confirmation_id": "c", "user_response": "yes"} | body
    assert problem(api.post("confirmations", **given)) == (type, ["body", name])
    refused(confirm(api, "c", "yes" + " " * 997), 404)


# Status


def test_4_the_status_of_what_has_ended(api: Api) -> None:
    for message in ("hello", "/fail"):
        made = api.submit(message)
        found = api.status(made["request_id"])
        assert set(found) == STATUS
        assert isinstance(found["pid"], str)
        assert found["state"] == "terminated"
        assert found["priority"] == "normal"
        assert isinstance(found["current_stage"], str | None)
        times = [found[name] for name in ("created_at", "started_at", "completed_at")]
        assert times == sorted(times)
        assert all(datetime.fromisoformat(each).utcoffset() is not None for each in times)
        assert set(found["resource_usage"]) == USAGE
        for name in USAGE - {"elapsed_seconds"}:
            assert type(found["resource_usage"][name]) is int
        assert isinstance(found["resource_usage"]["elapsed_seconds"], float)
        assert found["quota"] == QUOTA
        assert found["pending_interrupt"] is None


def test_4_the_status_of_what_waits(api: Api) -> None:
    for made, kind in (
        (api.submit("/clarify"), "clarification"),
        (api.submit("/confirm"), "confirmation"),
        (api.submit("x", context={"capability": "parent"}), "clarification"),
        (api.submit("x", context={"capability": "reviewer"}), "agent_review"),
    ):
        found = api.status(made["request_id"])
        assert (found["state"], found["pending_interrupt"]) == ("waiting", kind)
        assert found["completed_at"] is None
        assert found["started_at"] is not None


def test_4_the_status_of_what_runs_and_of_what_waits_in_line(
    api: Api, server: Served, gate: str
) -> None:
    session, behind = api.session(), f"behind {gate}"

    def ask(n: int) -> httpx.Response:
        if n == 1:
            assert server.gates.reached[gate].wait(60)
        if n == 2:
            assert server.gates.reached[gate].wait(60)
            found = api.status(gate)
            while api.get(f"/api/v1/requests/{quote(behind)}/status").status_code == 404:
                time.sleep(0.01)
            states.append((found["state"], api.status(behind)["state"]))
            server.gates.opened[gate].set()
            return httpx.Response(200, json={"status": "completed"})
        text = gate if n == 0 else behind
        context = {"capability": "held", "request_id": text}
        return api.post("requests", user_message=text, session_id=session, context=context)

    states: list[tuple[str, str]] = []
    assert [each.json()["status"] for each in at_once(3, ask)] == ["completed"] * 3
    assert states == [("running", "ready")]


def test_4_the_status_of_what_waits_for_more_than_it_may_use(api: Api) -> None:
    made = api.submit("x", context={"capability": "asking"})
    assert made["status"] == "processing"  # there is no answer yet, and none of the questions
    found = api.status(made["request_id"])
    assert (found["state"], found["pending_interrupt"]) == ("waiting", "resource_exhausted")


def test_4_a_zombie_is_reported_as_terminated(api: Api, server: Served) -> None:
    made = api.submit("hello")
    before = api.status(made["request_id"])
    server.execute("UPDATE process SET state = 'zombie' WHERE request_id = ?", made["request_id"])
    assert api.status(made["request_id"]) == before
    assert "zombie" not in metrics(api)["processes_by_state"]


def test_4_a_request_waits_five_minutes_at_most_unless_set(api: Api, server: Served) -> None:
    assert server.plugin.runtime.settings.rest_wait_seconds == 300


def test_4_a_status_is_found_by_every_id_that_was_given(api: Api) -> None:
    sent, made = api.send("/clarify"), api.submit("/clarify")
    for each in (sent, made):
        by_request, by_thread = (api.status(each[n]) for n in ("request_id", "thread_id"))
        assert by_request == by_thread
        assert api.status(by_request["pid"])["pid"] == by_request["pid"]
    confirmed = api.submit("/confirm")
    again = confirm(api, confirmed["confirmation_id"]).json()
    assert api.status(again["request_id"])["state"] == "terminated"
    clarified = clarify(api, made["thread_id"]).json()
    assert api.status(clarified["request_id"])["state"] == "terminated"
    assert api.status(api.send("hi")["request_id"])["state"] == "terminated"


def test_4_an_unknown_request_is_404_by_name(api: Api) -> None:
    for id in ("unknown", "5408ae7a-4f9a-4bd6-bc57-2d6feb71ee84", "ü"):
        answer = api.http.get(f"/api/v1/requests/{id}/status")
        assert refused(answer, 404) == f"Request not found: {id}"
    for id in ("%00", "x" * 5000, "%ff", "%2e%2e"):
        refused(api.http.get(f"/api/v1/requests/{id}/status"), 404)


def test_4_what_was_used_is_counted(api: Api) -> None:
    usage = api.status(api.submit("hello")["request_id"])["resource_usage"]
    assert usage["llm_calls"] == 1
    assert usage["tokens_in"] > 0
    assert usage["tokens_out"] > 0
    made = api.submit("word", context={"capability": "scholar"})
    usage = api.status(made["request_id"])["resource_usage"]
    assert (usage["tool_calls"], usage["agent_hops"], usage["llm_calls"]) == (1, 1, 0)


def test_4_what_reaches_its_quota_has_failed(api: Api) -> None:
    made = api.submit("x", context={"capability": "greedy"})
    assert made["status"] == "failed"
    found = api.status(made["request_id"])
    assert found["state"] == "terminated"
    assert found["resource_usage"]["tool_calls"] == found["quota"]["max_tool_calls"] == 50


# Metrics


def metrics(api: Api) -> Json:
    answer = api.http.get("/api/v1/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    found: Json = answer.json()
    assert set(found) == METRICS
    for name in METRICS - {"processes_by_state"}:
        assert type(found[name]) is int
        assert found[name] >= 0
    for state, number in found["processes_by_state"].items():
        assert state in ("new", "ready", "running", "waiting", "blocked", "terminated")
        assert type(number) is int
        assert number > 0
    active = sum(n for state, n in found["processes_by_state"].items() if state != "terminated")
    assert found["active_processes"] == active
    return found


@pytest.fixture
def alone(tmp_path: Path, databases: ChosenDatabases) -> Iterator[Api]:
    """The one user of a server, so that nothing else is counted: what waits at a shared one for
    another test may expire meanwhile."""
    with served(tmp_path) as server, client_of(server) as http:
        yield Api(server, http, "ann")


def test_4_metrics_count_requests_and_chat_messages(alone: Api) -> None:
    api, before = alone, metrics(alone)
    api.submit("hello")
    api.send("hello")
    api.submit("word", context={"capability": "scholar"})
    waiting = api.send("/clarify")
    after = metrics(api)
    assert after["total_processes"] == before["total_processes"] + 4
    assert after["system_llm_calls"] == before["system_llm_calls"] + 2
    assert after["system_tool_calls"] == before["system_tool_calls"] + 1
    assert after["system_tokens_in"] > before["system_tokens_in"]
    assert after["system_tokens_out"] > before["system_tokens_out"]
    assert after["active_processes"] == before["active_processes"] + 1
    clarify(api, waiting["thread_id"])
    assert metrics(api)["active_processes"] == before["active_processes"]


def test_4_metrics_count_what_runs(alone: Api) -> None:
    gates, made = alone.server.gates, list[Json]()
    gates.gate("held")
    context = {"capability": "held"}
    asking = threading.Thread(target=lambda: made.append(alone.submit("held", context=context)))
    asking.start()
    assert gates.reached["held"].wait(60)
    assert metrics(alone)["processes_by_state"] == {"running": 1}
    gates.opened["held"].set()
    asking.join(60)
    assert made[0]["status"] == "completed"


def test_4_the_total_never_falls(api: Api) -> None:
    session = api.send("hello")["session_id"]
    before = metrics(api)["total_processes"]
    api.call("DELETE", f"{B}/sessions/{session}", soft="false")
    assert metrics(api)["total_processes"] == before


def test_4_states_that_nothing_is_in_are_left_out(alone: Api) -> None:
    assert metrics(alone) == {**dict.fromkeys(METRICS, 0), "processes_by_state": {}}
    alone.send("hi")
    assert metrics(alone)["processes_by_state"] == {"terminated": 1}


# The mock


@pytest.mark.parametrize("space", ["", "  ", "\n\t"])
def test_7_commands_are_found_after_trimming(api: Api, space: str) -> None:
    assert api.send(f"{space}/clarify me")["clarification_needed"] is True
    assert api.send(f"{space}/confirm it")["confirmation_needed"] is True
    assert api.send(f"{space}/fail{space}")["status"] == "failed"


@pytest.mark.parametrize(
    "text", ["hello", "say /fail", "x" * 9_000, "🙂", "a\nb", "/other", "fail"]
)
def test_7_anything_else_is_completed_with_the_message_in_the_answer(api: Api, text: str) -> None:
    made = api.submit(text)
    assert made["status"] == "completed"
    assert text in made["response_text"]


def test_7_the_same_message_is_answered_the_same(api: Api, bob: Api) -> None:
    assert api.submit("hello")["response_text"] == bob.submit("hello")["response_text"]
