"""A session is exported as a file, in parts."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest
from generators import is_closed

from mission_system.core.chat.export import FORMATS, ExportFormat, export
from mission_system.core.chat.records import Message
from mission_system.core.errors import InvalidInput
from mission_system.core.node import Node

from .conftest import ANN, say


async def exported(node: Node, session: str, format: ExportFormat) -> str:
    return "".join(
        [part async for part in (await node.chat.export_session(ANN, session, format)).parts]
    )


@pytest.fixture
async def session(node: Node) -> str:
    session = (await node.chat.create_session(ANN)).session_id
    await say(node, session, 'say "hi"\nthere')
    deleted, _ = await say(node, session, "secret")
    await node.chat.delete_message(ANN, deleted, soft=False)
    return session


async def test_json_holds_the_session_and_its_messages(node: Node, session: str) -> None:
    body = json.loads(await exported(node, session, "json"))
    listed = (await node.chat.list_messages(ANN, session)).items
    record = await node.chat.get_session(ANN, session)
    assert body["session"] == record.as_json() | {"title": record.listed_title}
    assert body["messages"] == [message.as_json() for message in listed]
    assert len(body["messages"]) == record.message_count == 3


async def test_text_names_each_speaker(node: Node, session: str) -> None:
    record = await node.chat.get_session(ANN, session)
    first = (await node.chat.list_messages(ANN, session)).items[0]
    lines = (await exported(node, session, "txt")).split("\n")
    assert lines[:5] == [
        'Session: say "hi"',
        "there",
        f"Created: {record.created_at.isoformat()}",
        "Messages: 3",
        "=" * 80,
    ]
    said_at = first.created_at.isoformat()
    assert lines[5:9] == ["", f"[USER] {said_at}", 'say "hi"', "there"]
    assert "[ASSISTANT]" in lines[10]


async def test_markdown_gives_each_speaker_a_heading(node: Node, session: str) -> None:
    text = await exported(node, session, "md")
    lines = text.split("\n")
    assert lines[0] == '# say "hi"'
    assert "**Messages:** 3" in lines
    assert "---" in lines
    heading = lines.index("## 👤 User")
    assert lines[heading + 1].startswith("*2")
    assert lines[heading + 2 : heading + 5] == ["", 'say "hi"', "there"]
    assert "## 🤖 Assistant" in lines


async def test_a_long_session_is_exported_whole_and_in_parts(node: Node) -> None:
    session = await node.chat.create_session(ANN)
    texts = [f"message {n}" for n in range(1234)]

    async def fill(tx: object) -> None:
        await tx.execute_many(  # type: ignore[attr-defined]
            "INSERT INTO message (session_id, role, content, created_at) VALUES (?, 'user', ?, 1)",
            [(session.id, text) for text in texts],
        )
        await tx.execute("UPDATE session SET message_count = 1234")  # type: ignore[attr-defined]

    await node.database.write(fill)
    parts = [part async for part in (await node.chat.export_session(ANN, session.session_id)).parts]
    assert [each["content"] for each in json.loads("".join(parts))["messages"]] == texts
    assert max(len(part) for part in parts) < 1000


@pytest.mark.parametrize("format", FORMATS)
async def test_an_export_that_is_left_half_read_closes_what_it_reads(
    node: Node, session: str, format: ExportFormat
) -> None:
    record = await node.chat.get_session(ANN, session)
    [message, *_] = (await node.chat.list_messages(ANN, session)).items

    async def endless() -> AsyncGenerator[Message, None]:
        while True:
            yield message

    messages = endless()
    parts = export(record, messages, format).parts
    for _ in range(3):
        await anext(parts)
    assert not is_closed(messages)
    await parts.aclose()
    assert is_closed(messages)


async def test_a_session_that_grows_meanwhile_is_exported_as_it_was(
    node: Node, session: str
) -> None:
    export = await node.chat.export_session(ANN, session)
    await say(node, session, "later")
    body = json.loads("".join([part async for part in export.parts]))
    assert len(body["messages"]) == body["session"]["message_count"] == 3


async def test_a_format_that_is_not_written_is_refused(node: Node, session: str) -> None:
    with pytest.raises(InvalidInput):
        await node.chat.export_session(ANN, session, "pdf")  # type: ignore[arg-type]
