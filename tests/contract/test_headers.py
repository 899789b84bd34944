"""What the contract leaves to headers: work that is done once, and an API that will go."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import ChosenDatabases
from pydantic import ValidationError

from mission_system.core.settings import Settings

from .conftest import Api, B, at_once, client_of, refused
from .served import served

WAYS = ["messages", "requests"]


def ask(api: Api, way: str, text: str, key: str, session: str | None = None) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    if way == "messages":
        body: dict[str, Any] = {"message": text, "session_id": session}
        path = f"{B}/messages?user_id={api.user}"
    else:
        body = {"user_message": text, "user_id": api.user, "session_id": session}
        path = "/api/v1/requests"
    return api.http.post(path, json=body, headers=headers)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", ["hello", "/fail", "/clarify", "/confirm"])
def test_what_was_asked_with_a_key_is_done_once_and_answered_the_same(
    api: Api, way: str, text: str
) -> None:
    first, again = (ask(api, way, text, "key") for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    [session] = api.sessions()
    said = [each["content"] for each in api.messages(session["session_id"])]
    assert said.count(text) == 1


@pytest.mark.parametrize("way", WAYS)
def test_at_once_with_one_key_it_is_done_once(api: Api, way: str) -> None:
    session = api.session()
    answers = at_once(8, lambda _: ask(api, way, "hello", "key", session))
    assert {each.status_code for each in answers} == {200}
    assert len({each.text for each in answers}) == 1
    assert len(api.messages(session)) == 2


@pytest.mark.parametrize("way", WAYS)
def test_a_key_for_something_else_is_409_and_does_nothing(api: Api, way: str) -> None:
    session = api.session()
    ask(api, way, "hello", "key", session)
    refused(ask(api, way, "other", "key", session), 409)
    refused(ask(api, way, "hello", "key", api.session()), 409)
    assert len(api.messages(session)) == 2


@pytest.mark.parametrize("way", WAYS)
def test_keys_belong_to_a_user(api: Api, bob: Api, way: str) -> None:
    one, two = (ask(who, way, "hello", "key").json() for who in (api, bob))
    assert one["request_id"] != two["request_id"]
    assert [len(who.sessions()) for who in (api, bob)] == [1, 1]


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_a_bad_length_is_400(api: Api, key: str) -> None:
    for way in WAYS:
        refused(ask(api, way, "hello", key), 400)
    assert api.sessions() == []


def test_a_key_beside_a_request_id_is_400(api: Api) -> None:
    body = {"user_id": api.user, "user_message": "hello", "context": {"request_id": api.user}}
    headers = {"Idempotency-Key": "key"}
    detail = refused(api.http.post("/api/v1/requests", json=body, headers=headers), 400)
    assert "Idempotency-Key" in detail
    assert "context.request_id" in detail
    assert api.sessions() == []


def test_a_refused_message_uses_up_no_key(api: Api) -> None:
    assert ask(api, "messages", "", "key").status_code == 422
    assert ask(api, "messages", "hello", "key", "nowhere").status_code == 404
    assert ask(api, "messages", "hello", "key").json()["status"] == "completed"


TOLD = ("deprecation", "sunset", "link")


def test_nothing_is_deprecated_unless_somebody_says_so(http: httpx.Client) -> None:
    for path in ("/", "/api/v1/metrics", f"{B}/sessions"):
        assert not {*TOLD} & set(http.get(path).headers)


def test_every_answer_of_the_api_tells_when_it_will_go(
    tmp_path: Path, databases: ChosenDatabases
) -> None:
    since, until = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, 12, 30, tzinfo=UTC)
    settings = {"rest_deprecated_at": since, "rest_sunset_at": until}
    with served(tmp_path, **settings) as server, client_of(server) as http:
        foreign = {"Origin": "https://elsewhere.example"}
        for method, path, status, headers, content in (
            ("GET", "/api/v1/metrics", 200, {}, b""),
            ("GET", f"{B}/sessions", 422, {}, b""),
            ("GET", f"{B}/sessions/x?user_id=a", 404, {}, b""),
            ("PUT", f"{B}/sessions", 405, {}, b""),
            ("GET", "/api/v1/nothing", 404, {}, b""),
            ("GET", "/api/v1/metrics", 403, foreign, b""),
            ("POST", f"{B}/sessions", 413, {}, b" " * (1 << 21)),
            ("GET", f"{B}/search?user_id=a&query=b", 500, {}, b""),
        ):
            if status == 500:
                server.execute("ALTER TABLE message RENAME TO gone")
            answer = http.request(method, path, headers=headers, content=content)
            assert answer.status_code == status, answer.text
            assert answer.headers["deprecation"] == f"@{int(since.timestamp())}"
            assert parsedate_to_datetime(answer.headers["sunset"]) == until
            assert answer.headers["sunset"].endswith(" GMT")
            assert 'rel="deprecation"' in answer.headers["link"]
        for path in ("/", "/health", "/docs"):
            assert not {*TOLD} & set(http.get(path).headers)


@pytest.mark.parametrize(
    "settings",
    [
        {"rest_sunset_at": "2027-01-01T00:00:00"},
        {"rest_sunset_at": "soon"},
        {"rest_deprecated_at": "2027-01-02T00:00:00Z", "rest_sunset_at": "2027-01-01T00:00:00Z"},
    ],
)
def test_a_date_that_makes_no_sense_is_refused_at_the_start(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="rest_sunset_at"):
        Settings(**settings)  # type: ignore[arg-type]


def test_an_api_may_go_without_being_called_deprecated(
    tmp_path: Path, databases: ChosenDatabases
) -> None:
    until = datetime(2028, 1, 1, tzinfo=UTC)
    with served(tmp_path, rest_sunset_at=until) as server, client_of(server) as http:
        headers = http.get("/api/v1/metrics").headers
    assert "sunset" in headers
    assert "deprecation" not in headers
