"""Sessions and messages are changed by mutations; what goes wrong is a member of the result."""

from __future__ import annotations

import json

import pytest

from mission_system.schema import session_changes

from .conftest import Client, Json

ERROR = "__typename ... on Error { code message } ... on InvalidInput { field }"
SESSION = "session { sessionId title listedTitle archivedAt deletedAt messageCount }"


async def change(client: Client, name: str, fields: str, **given: object) -> Json:
    kind = name[0].upper() + name[1:]
    query = (
        f"mutation M($input: {kind}Input!) {{ {name}(input: $input)"
        f" {{ ... on {PAYLOADS.get(name, kind)}Payload {{ {fields} }} {ERROR} }} }}"
    )
    payload: Json = (await client.data(query, input=given))[name]
    return payload


PAYLOADS = {"archiveSession": "UpdateSession"}


@pytest.fixture
async def said(client: Client) -> Json:
    """The process of a message in a session of its own."""
    process: Json = (await client.send("first words"))["process"]
    return process


async def messages(client: Client, session_id: str, include_deleted: bool = False) -> list[Json]:
    query = (
        "query M($id: ID!, $deleted: Boolean!) { session(id: $id) {"
        " messages(includeDeleted: $deleted) { nodes { id messageId role content } } } }"
    )
    data = await client.data(query, id=session_id, deleted=include_deleted)
    nodes: list[Json] = data["session"]["messages"]["nodes"]
    return nodes


async def test_a_session_is_renamed_archived_and_taken_back(client: Client, said: Json) -> None:
    id = said["sessionId"]
    renamed = await change(client, "updateSession", SESSION, sessionId=id, title="Named")
    archived = await change(client, "archiveSession", SESSION, sessionId=id)
    back = await change(client, "archiveSession", SESSION, sessionId=id, archived=False)
    assert renamed["session"]["title"] == "Named"
    assert archived["session"]["archivedAt"] is not None
    assert (back["session"]["archivedAt"], back["session"]["title"]) == (None, "Named")


async def test_a_deleted_session_is_listed_only_when_asked_for(client: Client, said: Json) -> None:
    id = said["sessionId"]
    deleted = await change(client, "deleteSession", "sessionId soft", sessionId=id)
    assert (deleted["sessionId"], deleted["soft"]) == (id, True)
    listed = (
        "query S($deleted: Boolean!) { sessions(includeDeleted: $deleted) { nodes { title } } }"
    )
    assert (await client.data(listed, deleted=False))["sessions"]["nodes"] == []
    assert len((await client.data(listed, deleted=True))["sessions"]["nodes"]) == 1
    assert await messages(client, id) == []
    assert len(await messages(client, id, include_deleted=True)) == 2
    await change(client, "deleteSession", "soft", sessionId=id, soft=False)
    again = await change(client, "deleteSession", "soft", sessionId=id, soft=False)
    assert again["__typename"] == "NotFound"


async def test_sessions_are_listed_by_activity(client: Client, said: Json) -> None:
    for active in ("TODAY", "WEEK", "MONTH"):
        data = await client.data(f"{{ sessions(active: {active}) {{ nodes {{ listedTitle }} }} }}")
        assert data["sessions"]["nodes"] == [{"listedTitle": "first words"}]


async def test_a_message_is_edited_and_deleted_by_either_id(client: Client, said: Json) -> None:
    user, assistant = await messages(client, said["sessionId"])
    fields = "userMessage { content originalContent editedAt }"
    edited = await change(
        client, "editMessage", fields, messageId=user["id"], content="other words"
    )
    assert edited["userMessage"]["content"] == "other words"
    assert edited["userMessage"]["originalContent"] == "first words"
    for id in (user["id"], str(assistant["messageId"])):
        deleted = await change(client, "deleteMessage", "messageId soft", messageId=id)
        assert deleted["soft"] is True
    assert await messages(client, said["sessionId"]) == []


async def test_a_reply_cannot_be_edited(client: Client, said: Json) -> None:
    _, reply = await messages(client, said["sessionId"])
    refused = await change(
        client, "editMessage", "userMessage { id }", messageId=reply["id"], content="x"
    )
    assert (refused["__typename"], refused["message"]) == (
        "Forbidden",
        "Only user messages can be edited",
    )


async def test_a_session_is_exported(client: Client, said: Json) -> None:
    id = said["sessionId"]
    fields = "filename mediaType content"
    for format, media in (("JSON", "application/json"), ("TXT", "text/plain; charset=utf-8")):
        export = await change(client, "exportSession", fields, sessionId=id, format=format)
        assert export["filename"] == f"session_{id}.{format.lower()}"
        assert export["mediaType"] == media
        assert "first words" in export["content"]
    body = json.loads((await change(client, "exportSession", fields, sessionId=id))["content"])
    assert len(body["messages"]) == 2


async def test_an_export_that_is_too_long_is_refused(
    client: Client, said: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_changes, "MAX_EXPORT", 100)
    id = said["sessionId"]
    refused = await change(client, "exportSession", "filename", sessionId=id, format="MD")
    assert (refused["__typename"], refused["field"]) == ("InvalidInput", "sessionId")
    assert f"GET /api/v1/chat/sessions/{id}/export?format=md" in refused["message"]


async def test_search_finds_literal_text(client: Client, said: Json) -> None:
    query = (
        "query S($q: String!) { search(query: $q) {"
        " nodes { sessionTitle message { role content } } } }"
    )
    found = (await client.data(query, q="FIRST w"))["search"]["nodes"]
    assert found[-1] == {
        "sessionTitle": None,
        "message": {"role": "USER", "content": "first words"},
    }
    assert (await client.data(query, q="%"))["search"]["nodes"] == []
    for text in ("", "x" * 501):
        error = await client.error(query, q=text)
        assert error["extensions"] == {"code": "INVALID_INPUT", "field": "query"}


async def test_what_does_not_validate_is_named(client: Client, said: Json) -> None:
    user, _ = await messages(client, said["sessionId"])
    id = said["sessionId"]
    title = await change(client, "updateSession", "session { id }", sessionId=id, title="x" * 501)
    text = await change(
        client, "editMessage", "userMessage { id }", messageId=user["id"], content=""
    )
    assert (title["__typename"], title["field"]) == ("InvalidInput", "title")
    assert (text["__typename"], text["field"]) == ("InvalidInput", "content")


async def test_another_users_things_do_not_exist(client: Client, said: Json) -> None:
    user, _ = await messages(client, said["sessionId"])
    bob = client.called("bob")
    session, message = {"sessionId": said["sessionId"]}, {"messageId": user["id"]}
    for name, fields, given in (
        ("updateSession", "session { id }", {**session, "title": "mine"}),
        ("archiveSession", "session { id }", session),
        ("deleteSession", "soft", session),
        ("deleteSession", "soft", {**session, "soft": False}),
        ("exportSession", "content", session),
        ("editMessage", "userMessage { id }", {**message, "content": "mine"}),
        ("deleteMessage", "soft", message),
        ("deleteMessage", "soft", {**message, "soft": False}),
        ("deleteMessage", "soft", {"messageId": "nonsense"}),
    ):
        assert (await change(bob, name, fields, **given))["__typename"] == "NotFound", name
    assert len(await messages(client, said["sessionId"])) == 2
    assert (await bob.data('{ search(query: "words") { nodes { sessionTitle } } }'))["search"][
        "nodes"
    ] == []
