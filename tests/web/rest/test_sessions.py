"""Section 3 of the contract: sessions."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from urllib.parse import quote

import pytest

from mission_system import Caller
from mission_system.web.rest import download

from .conftest import Api, B, Held, problem

FIELDS = {
    *("session_id", "user_id", "title", "message_count"),
    *("created_at", "last_activity", "deleted_at", "archived_at"),
}


async def one(api: Api, id: str, user: str = "ann") -> dict[str, object]:
    answer = await api.get(f"{B}/sessions/{id}", user_id=user)
    assert answer.status_code == 200
    found: dict[str, object] = answer.json()
    return found


async def test_3_post_gives_201_and_the_stored_session(api: Api) -> None:
    made = await api.http.post(f"{B}/sessions", json={"user_id": "ann", "title": "T"})
    assert made.status_code == 201
    body = made.json()
    assert set(body) == FIELDS
    assert (body["title"], body["message_count"]) == ("T", 0)
    assert uuid.UUID(body["session_id"]).version == 4
    assert await one(api, body["session_id"]) == body


@pytest.mark.parametrize("title", [None, "", "x" * 500])
async def test_3_a_title_is_stored_as_given(api: Api, title: str | None) -> None:
    made = await api.http.post(f"{B}/sessions", json={"user_id": "ann", "title": title})
    assert made.json()["title"] == title


async def test_3_a_title_is_bounded(api: Api) -> None:
    long = {"user_id": "ann", "title": "x" * 501}
    expected = ("string_too_long", ["body", "title"])
    assert problem(await api.http.post(f"{B}/sessions", json=long)) == expected
    id = await api.session("T")
    assert problem(await api.call("PATCH", f"{B}/sessions/{id}", long)) == expected
    assert (await one(api, id))["title"] == "T"


async def test_3_a_list_is_a_bare_array_the_last_active_first(api: Api) -> None:
    made = [await api.session(str(n)) for n in range(3)]
    await api.send("hi", made[0])
    listed = await api.sessions()
    assert [each["session_id"] for each in listed] == [made[0], made[2], made[1]]
    assert set(listed[0]) == FIELDS
    assert listed[0] == await one(api, made[0])


async def test_3_a_list_is_cut_by_limit_and_offset(api: Api) -> None:
    made = [await api.session(str(n)) for n in range(4)][::-1]
    page = await api.sessions(limit=2, offset=1)
    assert [each["session_id"] for each in page] == made[1:3]
    assert await api.sessions(offset=10**30) == []


@pytest.mark.parametrize(
    ("name", "value", "type"),
    [
        ("limit", "0", "greater_than_equal"),
        ("limit", "201", "less_than_equal"),
        ("limit", "x", "int_parsing"),
        ("offset", "-1", "greater_than_equal"),
        ("filter", "", "string_pattern_mismatch"),
        ("filter", "year", "string_pattern_mismatch"),
        ("filter", "week\n", "string_pattern_mismatch"),
    ],
)
async def test_3_parameters_of_the_list_are_checked(
    api: Api, name: str, value: str, type: str
) -> None:
    assert problem(await api.get(f"{B}/sessions", **{name: value})) == (type, ["query", name])


async def test_3_a_list_is_filtered_by_activity(api: Api) -> None:
    new, old = await api.session(), await api.session()
    month = 31 * 86_400_000_000
    await api.node.database.write(
        lambda tx: tx.execute(
            "UPDATE session SET last_activity = last_activity - ? WHERE public_id = ?", (month, old)
        )
    )
    for filter in ("today", "week", "month"):
        assert [each["session_id"] for each in await api.sessions(filter=filter)] == [new]
    assert len(await api.sessions(filter="all")) == len(await api.sessions()) == 2


async def test_3_a_session_without_a_title_is_listed_by_its_first_message(api: Api) -> None:
    id = await api.session()
    assert [each["title"] for each in await api.sessions()] == ["Untitled Chat"]
    await api.send("é" * 51, id)
    assert [each["title"] for each in await api.sessions()] == ["é" * 50 + "..."]
    assert (await one(api, id))["title"] is None


async def test_3_patch_renames_and_any_patch_is_activity(api: Api) -> None:
    id = await api.session("old")
    seen = [(await one(api, id))["last_activity"]]
    for body, title in (({"title": "new"}, "new"), ({"title": None}, "new"), ({}, "new")):
        changed = await api.call("PATCH", f"{B}/sessions/{id}", body)
        assert (changed.status_code, changed.json()["title"]) == (200, title)
        seen.append(changed.json()["last_activity"])
    assert seen == sorted(set(seen), key=str)


async def test_3_patch_archives_and_takes_back(api: Api) -> None:
    id = await api.session()
    path = f"{B}/sessions/{id}"
    archived = await api.call("PATCH", path, {"archived_at": "2026-01-23T14:00:00+02:00"})
    assert archived.json()["archived_at"] == "2026-01-23T12:00:00+00:00"
    assert len(await api.sessions()) == 1
    kept = await api.call("PATCH", path, {"title": "T"})
    assert kept.json()["archived_at"] is not None
    back = await api.call("PATCH", path, {"archived_at": None})
    assert back.json()["archived_at"] is None


@pytest.mark.parametrize("value", ["yesterday", "", 5, "0001-01-01T00:00:00+14:00"])
async def test_3_what_is_no_date_time_changes_nothing(api: Api, value: object) -> None:
    id = await api.session("T")
    answer = await api.call("PATCH", f"{B}/sessions/{id}", {"title": "X", "archived_at": value})
    assert problem(answer)[1] == ["body", "archived_at"]
    assert (await one(api, id))["title"] == "T"


async def test_3_soft_deletion(api: Api) -> None:
    id = await api.session()
    await api.send("hi", id)
    path = f"{B}/sessions/{id}"
    first = await api.call("DELETE", path)
    assert (first.status_code, first.content) == (204, b"")
    stamp = (await one(api, id))["deleted_at"]
    assert (await api.call("DELETE", path)).status_code == 204
    assert (await one(api, id))["deleted_at"] == stamp is not None
    assert await api.sessions() == []
    assert [each["session_id"] for each in await api.sessions(include_deleted="true")] == [id]
    assert await api.messages(id) == []
    assert len(await api.messages(id, include_deleted="true")) == 2
    assert (await api.call("PATCH", path, {"title": "still"})).status_code == 200
    assert (await api.get(f"{path}/export")).status_code == 200
    sent = await api.call("POST", f"{B}/messages", {"message": "hi", "session_id": id})
    assert (sent.status_code, sent.json()) == (
        404,
        {"detail": "Session not found or access denied"},
    )


async def test_3_hard_deletion(api: Api) -> None:
    id = await api.session()
    await api.send("hi", id)
    path = f"{B}/sessions/{id}"
    await api.call("DELETE", path)
    assert (await api.call("DELETE", path, soft="false")).status_code == 204
    assert await api.sessions(include_deleted="true") == []
    for method, below in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/messages")):
        body = {} if method == "PATCH" else None
        assert (await api.call(method, path + below, body)).status_code == 404
    assert (await api.call("DELETE", path, soft="false")).status_code == 404


async def test_3_a_message_that_is_worked_on_ends_with_its_session(api: Api, held: Held) -> None:
    id = (await api.node.chat.create_session(Caller("ann"), capability="held")).session_id
    sending = asyncio.create_task(api.send("hi", id))
    await held.reached.wait()
    assert (await api.call("DELETE", f"{B}/sessions/{id}", soft="false")).status_code == 204
    async with asyncio.timeout(20):
        assert (await sending)["status"] == "failed"


async def test_3_another_users_session_looks_like_none(api: Api) -> None:
    id = await api.session("T")
    path = f"{B}/sessions/{id}"
    for method, below in (
        *(("GET", ""), ("PATCH", ""), ("DELETE", "")),
        *(("GET", "/messages"), ("GET", "/export")),
    ):
        body = {} if method == "PATCH" else None
        foreign = await api.call(method, path + below, body, user_id="bob")
        unknown = await api.call(method, f"{B}/sessions/{uuid.uuid4()}{below}", body)
        assert foreign.status_code == unknown.status_code == 404
    assert (await one(api, id))["title"] == "T"


@pytest.mark.parametrize(
    ("format", "media"),
    [
        ("json", "application/json"),
        ("txt", "text/plain; charset=utf-8"),
        ("md", "text/markdown; charset=utf-8"),
    ],
)
async def test_3_an_export_is_a_file(api: Api, format: str, media: str) -> None:
    id = await api.session()
    await api.send("héllo", id)
    answer = await api.get(f"{B}/sessions/{id}/export", format=format)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media
    named = f"attachment; filename=session_{id}.{format}"
    assert answer.headers["content-disposition"] == named
    assert "héllo" in answer.content.decode()


async def test_3_whoever_asks_for_the_head_of_an_export_has_none_made(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    gathered = download._gathered

    async def counted(parts: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        nonlocal made
        async for part in gathered(parts):
            made += 1
            yield part

    monkeypatch.setattr(download, "_gathered", counted)
    path = f"{B}/sessions/{await api.session()}/export"
    head = await api.call("HEAD", path)
    assert (head.status_code, head.content, made) == (200, b"", 0)
    whole = await api.get(path)
    assert made > 0
    for name in ("content-type", "content-disposition"):
        assert head.headers[name] == whole.headers[name]


async def test_3_a_json_export_holds_what_the_lists_show(api: Api) -> None:
    id = await api.session()
    await api.send("hello", id)
    body = json.loads((await api.get(f"{B}/sessions/{id}/export")).content)
    assert body == {"session": (await api.sessions())[0], "messages": await api.messages(id)}


async def test_3_a_session_of_any_name_is_exported(api: Api) -> None:
    id = 'odd "name"\r\nX: y ü'
    await api.post("requests", user_message="hi", session_id=id)
    answer = await api.http.get(f"{B}/sessions/{quote(id, safe='')}/export?user_id=ann")
    assert answer.status_code == 200
    assert "x" not in answer.headers
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''session_")


async def test_3_another_format_is_refused(api: Api) -> None:
    answer = await api.get(f"{B}/sessions/x/export", format="pdf")
    assert problem(answer) == ("string_pattern_mismatch", ["query", "format"])
