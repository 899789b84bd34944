"""Several clients at once, in each other's way: nobody gets a 5xx, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from databases import ChosenDatabases

from .conftest import Api, B, Json, at_once, client_of, refused
from .listener import OUTCOMES, listening
from .served import SECONDS, Served, served


def together(*works: Callable[[], object]) -> None:
    """Run all of them at the same time; what one raises is raised."""
    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(work) for work in works]:
            done.result(2 * SECONDS)


def held(api: Api, gate: str, session: str) -> Callable[[], httpx.Response]:
    context = {"capability": "held", "request_id": gate}
    return lambda: api.post("requests", user_message=gate, session_id=session, context=context)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(int(SECONDS / 0.02)):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not come to that")


def consistent(api: Api, session: str) -> list[Json]:
    """The messages, once every way to count them has given the same."""
    found = api.messages(session, limit=500)
    [listed] = [each for each in api.sessions() if each["session_id"] == session]
    exported = api.get(f"{B}/sessions/{session}/export").json()["messages"]
    assert listed["message_count"] == api.one(session)["message_count"] == len(found)
    assert exported == found
    return found


def test_parallel_sends_of_all_kinds_to_one_session_lose_nothing(api: Api) -> None:
    session = api.session()
    texts = ["hello", "/fail", "/clarify", "/confirm", "more"] * 6

    def send(n: int) -> httpx.Response:
        body = {"message": f"{texts[n]} {n}", "session_id": session}
        return api.call("POST", f"{B}/messages", body)

    answers = [each.json() for each in at_once(len(texts), send)]
    for n, answer in enumerate(answers):
        kind = texts[n]
        assert answer["confirmation_needed"] is (kind == "/confirm")
        assert answer["clarification_needed"] is (kind == "/clarify")
        assert (answer["status"] == "failed") is (kind == "/fail")
    said = [each["content"] for each in consistent(api, session) if each["role"] == "user"]
    assert sorted(said) == sorted(f"{text} {n}" for n, text in enumerate(texts))


def test_each_answer_follows_its_message_when_many_are_sent_at_once(api: Api) -> None:
    session = api.session()
    at_once(
        12,
        lambda n: api.call("POST", f"{B}/messages", {"message": f"n{n}", "session_id": session}),
    )
    found = consistent(api, session)
    answers = [each["content"] for each in found if each["role"] == "assistant"]
    questions = [each["content"] for each in found if each["role"] == "user"]
    assert len(answers) == len(questions) == 12
    # One after another: the answers come in the order in which the messages were taken.
    assert all(question in answer for question, answer in zip(questions, answers, strict=True))


@pytest.mark.parametrize("soft", [True, False])
def test_a_session_is_deleted_while_it_is_worked_in(
    api: Api, server: Served, gate: str, soft: bool
) -> None:
    session = api.session()
    path = f"{B}/sessions/{session}"
    answers: list[httpx.Response] = []

    def delete() -> None:
        assert server.gates.reached[gate].wait(SECONDS)
        assert api.call("DELETE", path, soft=str(soft).lower()).status_code == 204
        server.gates.opened[gate].set()

    together(lambda: answers.append(held(api, gate, session)()), delete)
    [answer] = answers
    assert answer.status_code in (200, 404)
    if soft:
        assert answer.json()["status"] == "completed"
        assert api.messages(session) == []
        assert all(each["deleted_at"] for each in api.messages(session, include_deleted="true"))
        assert api.one(session)["message_count"] == 0
        assert api.status(gate)["state"] == "terminated"
    else:
        assert api.get(path).status_code == 404
        assert api.search(gate) == []
    again = api.call("POST", f"{B}/messages", {"message": "hi", "session_id": session})
    assert again.status_code == 404
    assert api.send("hello")["status"] == "completed"


def test_a_message_is_deleted_and_edited_while_it_is_worked_on(
    api: Api, server: Served, gate: str
) -> None:
    session = api.session()

    def change() -> None:
        assert server.gates.reached[gate].wait(SECONDS)
        message = api.messages(session)[0]["message_id"]
        edited = api.call("PATCH", f"{B}/messages/{message}", {"content": "edited"})
        assert edited.status_code == 200
        assert api.call("DELETE", f"{B}/messages/{message}").status_code == 204
        gone = api.call("DELETE", f"{B}/messages/{message}", soft="false")
        assert gone.status_code == 204
        server.gates.opened[gate].set()

    answers: list[httpx.Response] = []
    together(lambda: answers.append(held(api, gate, session)()), change)
    assert answers[0].json()["status"] == "completed"
    assert [each["content"] for each in consistent(api, session)] == [f"held {gate}"]


def test_a_question_is_answered_while_its_session_is_deleted(api: Api) -> None:
    for _ in range(5):
        asked = api.send("/clarify")
        body = {"thread_id": asked["thread_id"], "clarification": "this"}
        codes: list[int] = []
        together(
            lambda body=body, codes=codes: codes.append(  # type: ignore[misc]
                api.post("chat/clarifications", **body).status_code
            ),
            lambda asked=asked: api.call(  # type: ignore[misc]
                "DELETE", f"{B}/sessions/{asked['session_id']}", soft="false"
            ),
        )
        assert codes[0] in (200, 404, 409)
        assert api.get(f"{B}/sessions/{asked['session_id']}").status_code == 404


def test_messages_are_edited_while_they_are_searched(api: Api) -> None:
    """Whatever is found contains what was searched for, as it was when it was found."""
    session = api.session()
    for n in range(5):
        api.send(f"apple {n}", session)
    ids = [each["message_id"] for each in api.messages(session) if each["role"] == "user"]
    done = threading.Event()

    def edit() -> None:
        try:
            for n in range(40):
                text = f"{('pear', 'apple')[n % 2]} {n}"
                path = f"{B}/messages/{ids[n % len(ids)]}"
                assert api.call("PATCH", path, {"content": text}).status_code == 200
        finally:
            done.set()

    def search(word: str) -> None:
        while not done.is_set():
            for found in api.search(word):
                assert word in found["content"].lower()

    together(edit, *(lambda word=word: search(word) for word in ("apple", "pear", "APPLE".lower())))  # type: ignore[misc]
    contents = {each["message_id"]: each["content"] for each in api.messages(session)}
    for word in ("apple", "pear"):
        found = {each["message_id"] for each in api.search(word)}
        assert found == {id for id, content in contents.items() if word in content}


def test_one_message_is_edited_by_many_at_once(api: Api) -> None:
    session = api.send("original")["session_id"]
    message = api.messages(session)[0]["message_id"]
    path = f"{B}/messages/{message}"
    answers = at_once(10, lambda n: api.call("PATCH", path, {"content": f"edit {n}"}))
    assert {each.status_code for each in answers} == {200}
    assert {each.json()["original_content"] for each in answers} == {"original"}
    last = api.messages(session)[0]
    assert last in [each.json() for each in answers]


def test_a_message_is_deleted_by_many_at_once(api: Api) -> None:
    session = api.send("hello")["session_id"]
    first, second = (each["message_id"] for each in api.messages(session))
    softly = at_once(6, lambda _: api.call("DELETE", f"{B}/messages/{first}"))
    assert {each.status_code for each in softly} == {204}
    hard = at_once(6, lambda _: api.call("DELETE", f"{B}/messages/{second}", soft="false"))
    assert sorted(each.status_code for each in hard) == [204] + [404] * 5
    assert consistent(api, session) == []


def test_sessions_are_listed_while_they_come_and_go(api: Api) -> None:
    done = threading.Event()

    def change() -> None:
        try:
            for n in range(15):
                session = api.session(f"s{n}")
                api.send("hello", session)
                api.call("DELETE", f"{B}/sessions/{session}", soft=("true", "false")[n % 2])
        finally:
            done.set()

    def look() -> None:
        while not done.is_set():
            for session in api.sessions():
                assert session["message_count"] in (0, 1, 2)
                answer = api.get(f"{B}/sessions/{session['session_id']}/export", format="txt")
                assert answer.status_code in (200, 404)

    together(change, look, look)
    assert api.sessions() == []


def test_many_users_at_once_are_told_apart(api: Api, server: Served) -> None:
    users = [api.of(f"{api.user} {n}") for n in range(16)]
    with listening(server) as listener:
        answers = at_once(
            16, lambda n: users[n].call("POST", f"{B}/messages", {"message": f"I am {n}"})
        )
        waiting = {each.json()["request_id"] for each in answers}
        while waiting:
            event = listener.event()
            if event["event"] in OUTCOMES:
                waiting.discard(event["payload"]["request_id"])
    for n, who in enumerate(users):
        [session] = who.sessions()
        assert session["title"] == f"I am {n}"
        assert len(consistent(who, session["session_id"])) == 2
        assert {each["session_id"] for each in who.search("I am")} == {session["session_id"]}


def test_a_server_that_shuts_down_takes_no_work_and_finishes_what_it_has(
    tmp_path: Path, databases: ChosenDatabases
) -> None:
    """Sections 1 and 4: 503, and nothing is stored; liveness and what is read go on."""
    with served(tmp_path, shutdown_seconds=SECONDS) as server, client_of(server) as http:
        api = Api(server, http, "ann")
        server.gates.gate("last")
        session, thread = api.session(), api.submit("/clarify")["thread_id"]
        confirmation = api.submit("/confirm")["confirmation_id"]
        answers: list[httpx.Response] = []

        def drain() -> None:
            assert server.gates.reached["last"].wait(SECONDS)
            server.begin_to_stop()
            until(lambda: http.get("/ready").status_code == 503)
            before = api.sessions(), api.messages(session)
            for refusal in (
                api.call("POST", f"{B}/messages", {"message": "late", "session_id": session}),
                api.call("POST", f"{B}/messages", {"message": "late"}),
                api.post("requests", user_message="late"),
                api.post("confirmations", confirmation_id=confirmation, user_response="yes"),
                api.post("chat/clarifications", thread_id=thread, clarification="late"),
            ):
                assert "shutting down" in refused(refusal, 503)
            assert (api.sessions(), api.messages(session)) == before
            # The tower is there to its end, so whoever waits for an outcome may still ask.
            assert api.status("last")["state"] == "running"
            assert http.get("/api/v1/metrics").json()["active_processes"] == 3
            assert http.get("/health").json()["status"] == "healthy"
            server.gates.opened["last"].set()

        together(lambda: answers.append(held(api, "last", session)()), drain)
        assert answers[0].json()["response_text"] == "held last"
