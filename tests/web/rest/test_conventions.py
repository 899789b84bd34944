"""Section 1 of the contract: conventions and errors."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import httpx
import pytest

from .conftest import Api, B, Held, Json, problem

WRONG_IDS = [
    "nope",
    "%2e%2e",
    "%00",
    "x" * 300,
    "%F0%9F%99%82",
    "5408ae7a-4f9a-4bd6-bc57-2d6feb71ee84",
]


@pytest.mark.parametrize("id", WRONG_IDS)
async def test_1_an_id_of_the_wrong_form_is_unknown(api: Api, id: str) -> None:
    for method, path, body in (
        ("GET", f"{B}/sessions/{id}", None),
        ("PATCH", f"{B}/sessions/{id}", {}),
        ("DELETE", f"{B}/sessions/{id}", None),
        ("GET", f"{B}/sessions/{id}/messages", None),
        ("GET", f"{B}/sessions/{id}/export", None),
        ("GET", f"/api/v1/requests/{id}/status", None),
    ):
        answer = await api.call(method, path, body)
        assert answer.status_code == 404, (method, path)
        assert isinstance(answer.json()["detail"], str)


async def test_1_a_message_id_is_a_number_and_a_large_one_is_unknown(api: Api) -> None:
    path = f"{B}/messages"
    assert problem(await api.call("DELETE", f"{path}/abc")) == (
        "int_parsing",
        ["path", "message_id"],
    )
    assert problem(await api.call("PATCH", f"{path}/1.5", {"content": "x"}))[1][0] == "path"
    for number in (0, -1, 2**63, 10**40):
        assert (await api.call("DELETE", f"{path}/{number}")).status_code == 404
        assert (await api.call("PATCH", f"{path}/{number}", {"content": "x"})).status_code == 404


async def test_1_timestamps_carry_an_offset_and_what_is_absent_is_null(api: Api) -> None:
    session = (await api.get(f"{B}/sessions/{await api.session()}")).json()
    for name in ("created_at", "last_activity"):
        assert datetime.fromisoformat(session[name]).utcoffset() == timedelta(0)
    assert session["deleted_at"] is None
    assert session["archived_at"] is None


@pytest.mark.parametrize(
    "user", ["a", "é" * 255, "ann@example.com", " spaced ", "🙂", "O'Neil; --"]
)
async def test_1_a_user_id_is_opaque_text_echoed_as_sent(api: Api, user: str) -> None:
    id = await api.session(user=user)
    found = (await api.get(f"{B}/sessions/{id}", user_id=user)).json()
    assert found["user_id"] == user


@pytest.mark.parametrize(
    ("user", "type"),
    [
        (None, "missing"),
        ("", "string_too_short"),
        ("é" * 256, "string_too_long"),
        ("\0", "value_error"),
    ],
)
async def test_1_a_user_id_is_required_and_bounded(api: Api, user: str | None, type: str) -> None:
    assert problem(await api.get(f"{B}/sessions", user_id=user)) == (type, ["query", "user_id"])
    body = {"user_id": user} if user is not None else {}
    answer = await api.http.post(f"{B}/sessions", json=body)
    assert problem(answer) == (type, ["body", "user_id"])


@pytest.mark.parametrize("word", ["true", "1", "YES", "On"])
async def test_1_a_boolean_is_true(api: Api, word: str) -> None:
    id = await api.session()
    await api.call("DELETE", f"{B}/sessions/{id}")
    assert len(await api.sessions(include_deleted=word)) == 1


@pytest.mark.parametrize("word", ["false", "0", "NO", "Off"])
async def test_1_a_boolean_is_false(api: Api, word: str) -> None:
    id = await api.session()
    await api.call("DELETE", f"{B}/sessions/{id}")
    assert await api.sessions(include_deleted=word) == []


@pytest.mark.parametrize("word", ["", "2", "t", "y", "maybe"])
async def test_1_other_text_is_no_boolean(api: Api, word: str) -> None:
    answer = await api.get(f"{B}/sessions", include_deleted=word)
    assert problem(answer) == ("bool_parsing", ["query", "include_deleted"])


async def test_1_unknown_fields_are_ignored(api: Api) -> None:
    made = await api.http.post(f"{B}/sessions?x=1", json={"user_id": "ann", "colour": "red"})
    assert made.status_code == 201
    assert (await api.get(f"{B}/sessions", colour="red")).status_code == 200


async def test_1_an_unknown_route_and_a_wrong_method_are_told_in_json(api: Api) -> None:
    unknown = await api.get("/api/v1/nothing")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Not Found"})
    wrong = await api.call("PUT", f"{B}/sessions")
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    assert {"GET", "POST"} <= set(wrong.headers["allow"].split(", "))


@pytest.mark.parametrize(
    ("body", "type", "loc"),
    [
        (b"{", "json_invalid", ["body", 1]),
        (b"\xff", "json_invalid", ["body", 0]),
        (b'{"user_id": "\\ud800"}', "json_invalid", None),
        (b"", "missing", ["body"]),
        (b"null", "missing", ["body"]),
        (b"[]", "model_attributes_type", ["body"]),
        (b'{"user_id": 5}', "string_type", ["body", "user_id"]),
    ],
)
async def test_1_a_body_that_does_not_validate_is_422(
    api: Api, body: bytes, type: str, loc: list[object] | None
) -> None:
    answer = await api.http.post(
        f"{B}/sessions", content=body, headers={"Content-Type": "application/json"}
    )
    found, place = problem(answer)
    assert found == type
    assert place == loc or (loc is None and place[0] == "body")


async def test_1_all_problems_are_told_at_once(api: Api) -> None:
    answer = await api.call("POST", f"{B}/messages", {"message": ""}, user_id=None)
    assert [each["loc"] for each in answer.json()["detail"]] == [
        ["query", "user_id"],
        ["body", "message"],
    ]


async def test_1_a_body_above_the_limit_is_413(api: Api) -> None:
    answer = await api.call("POST", f"{B}/messages", {"message": "x" * (1 << 20)})
    assert answer.status_code == 413
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("changed", [{"max_backlog": 1}])
async def test_1_a_full_session_is_429_with_the_time_to_wait(
    api: Api, held: Held, changed: Json
) -> None:
    first = asyncio.create_task(request(api, "one"))
    await held.reached.wait()
    second = asyncio.create_task(request(api, "two"))
    async with asyncio.timeout(20):
        while api.node.tower.depth != (1, 1):
            await asyncio.sleep(0.01)
    refused = await request(api, "three")
    held.opened.set()
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert [(await each).status_code for each in (first, second)] == [200, 200]


async def request(api: Api, text: str) -> httpx.Response:
    return await api.post("requests", user_message=text, context={"capability": "held"})


async def test_1_an_unexpected_failure_is_500_without_its_text(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("SELECT secret FROM /etc/passwd")

    monkeypatch.setattr(api.node.chat, "get_session", fail)
    answer = await api.get(f"{B}/sessions/x")
    assert answer.status_code == 500
    assert "secret" not in answer.json()["detail"]


async def test_1_a_server_that_shuts_down_starts_nothing(api: Api) -> None:
    await api.node.tower.stop()
    for answer in (
        await api.call("POST", f"{B}/messages", {"message": "hi"}),
        await api.post("requests", user_message="hi"),
    ):
        assert answer.status_code == 503
        assert isinstance(answer.json()["detail"], str)
    assert await api.sessions() == []
