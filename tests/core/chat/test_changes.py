"""Sessions and messages are renamed, archived, edited and deleted, and their stream tells of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from mission_system.core.chat.paging import Window
from mission_system.core.errors import Forbidden, InvalidInput, NotFound
from mission_system.core.node import Node

from .conftest import ANN, BOB, say, told

NOON = datetime(2026, 1, 23, 12, tzinfo=UTC)


async def start(node: Node, title: str | None = "Title") -> str:
    return (await node.chat.create_session(ANN, title=title)).session_id


async def contents(node: Node, session: str, *, include_deleted: bool = False) -> list[str]:
    page = await node.chat.list_messages(ANN, session, include_deleted=include_deleted)
    return [message.content for message in page.items]


# sessions


async def test_a_session_is_renamed_and_archived_and_each_alone(node: Node) -> None:
    session = await start(node)
    renamed = await node.chat.update_session(ANN, session, title="Other")
    archived = await node.chat.update_session(ANN, session, archived_at=NOON)
    opened = await node.chat.update_session(ANN, session, archived_at=None)
    assert [each.title for each in (renamed, archived, opened)] == ["Other"] * 3
    assert [each.archived_at for each in (renamed, archived, opened)] == [None, NOON, None]
    events = await told(node, session, "chat.session.updated")
    assert [event.payload["session"]["archived_at"] for event in events] == [
        None,
        "2026-01-23T12:00:00+00:00",
        None,
    ]


async def test_an_update_of_nothing_is_activity(node: Node) -> None:
    before = await node.chat.create_session(ANN, title="Title")
    after = await node.chat.update_session(ANN, before.session_id)
    assert (after.title, after.archived_at) == ("Title", None)
    assert after.last_activity > before.last_activity


async def test_a_soft_deletion_hides_a_session_and_what_was_said_in_it(node: Node) -> None:
    session = await start(node)
    await say(node, session, "hi")
    await node.chat.delete_session(ANN, session)
    assert (await node.chat.list_sessions(ANN)).items == ()
    [found] = (await node.chat.list_sessions(ANN, include_deleted=True)).items
    assert found.deleted_at is not None
    assert found.message_count == 0
    assert await contents(node, session) == []
    assert await contents(node, session, include_deleted=True) == ["hi", "hi"]


async def test_the_first_soft_deletion_counts_and_is_told_once(node: Node) -> None:
    session = await start(node)
    await node.chat.delete_session(ANN, session)
    first = (await node.chat.get_session(ANN, session)).deleted_at
    await node.chat.delete_session(ANN, session)
    assert (await node.chat.get_session(ANN, session)).deleted_at == first
    [event] = await told(node, session, "chat.session.deleted")
    assert event.payload == {"session_id": session, "soft": True}


async def test_a_hard_deletion_leaves_nothing_but_how_the_stream_ended(node: Node) -> None:
    session = await start(node)
    message, _ = await say(node, session, "secret")
    stream = (await node.chat.get_session(ANN, session)).id
    await node.chat.delete_session(ANN, session, soft=False)
    with pytest.raises(NotFound):
        await node.chat.get_session(ANN, session)
    with pytest.raises(NotFound):
        await node.chat.get_message(ANN, message)
    for table in ("session", "message", "process", "step", "interrupt"):
        row = await node.database.fetch_one(f"SELECT COUNT(*) FROM {table}")
        assert row is not None
        assert row[0] == 0, table
    rows = await node.database.fetch_all(
        "SELECT type, payload FROM event WHERE stream_id = ?", (stream,)
    )
    assert [row["type"] for row in rows] == ["chat.session.deleted"]
    with pytest.raises(NotFound):
        await node.chat.delete_session(ANN, session, soft=False)


async def test_a_hard_deletion_harms_no_other_session(node: Node) -> None:
    gone, kept = await start(node), await start(node)
    await say(node, gone, "gone")
    await say(node, kept, "kept")
    await node.chat.delete_session(ANN, gone, soft=False)
    assert await contents(node, kept) == ["kept", "kept"]
    assert len((await node.tower.list_processes(ANN)).items) == 1
    assert await node.events.last_seq(ANN, kept) == len(await node.events.read(ANN, kept))


# messages


async def test_the_first_edit_keeps_the_original(node: Node) -> None:
    session = await start(node)
    message, _ = await say(node, session, "one")
    await node.chat.edit_message(ANN, message, "two")
    edited = await node.chat.edit_message(ANN, message, "three")
    assert (edited.content, edited.original_content) == ("three", "one")
    assert edited.edited_at is not None
    events = await told(node, session, "chat.message.edited")
    assert [event.payload["message"]["content"] for event in events] == ["two", "three"]


async def test_only_what_the_user_said_can_be_edited(node: Node) -> None:
    _, reply = await say(node, await start(node), "hi")
    with pytest.raises(Forbidden, match="Only user messages can be edited"):
        await node.chat.edit_message(ANN, reply, "something else")


async def test_a_deleted_message_cannot_be_edited(node: Node) -> None:
    message, _ = await say(node, await start(node), "hi")
    await node.chat.delete_message(ANN, message)
    with pytest.raises(NotFound):
        await node.chat.edit_message(ANN, message, "back again")


async def test_messages_of_either_role_are_deleted_softly_or_for_good(node: Node) -> None:
    session = await start(node)
    message, reply = await say(node, session, "hi")
    await node.chat.delete_message(ANN, message)
    await node.chat.delete_message(ANN, message)
    assert await contents(node, session, include_deleted=True) == ["hi", "hi"]
    await node.chat.delete_message(ANN, reply, soft=False)
    assert await contents(node, session, include_deleted=True) == ["hi"]
    assert (await node.chat.get_session(ANN, session)).message_count == 0
    events = await told(node, session, "chat.message.deleted")
    assert [event.payload for event in events] == [
        {"message_id": message, "soft": True},
        {"message_id": reply, "soft": False},
    ]
    with pytest.raises(NotFound):
        await node.chat.delete_message(ANN, reply, soft=False)


async def test_a_number_is_given_to_one_message_only(node: Node) -> None:
    session = await start(node)
    _, reply = await say(node, session, "hi")
    await node.chat.delete_message(ANN, reply, soft=False)
    again, _ = await say(node, session, "hi again")
    assert again > reply


# whose they are, and what is no input

CHANGES: list[Callable[[Node, str, int], Awaitable[object]]] = [
    lambda node, session, _: node.chat.update_session(BOB, session, title="mine"),
    lambda node, session, _: node.chat.delete_session(BOB, session),
    lambda node, session, _: node.chat.delete_session(BOB, session, soft=False),
    lambda node, session, _: node.chat.export_session(BOB, session),
    lambda node, _, message: node.chat.edit_message(BOB, message, "mine"),
    lambda node, _, message: node.chat.delete_message(BOB, message),
    lambda node, _, message: node.chat.delete_message(BOB, message, soft=False),
]


@pytest.mark.parametrize("change", CHANGES)
async def test_what_is_another_users_does_not_exist(
    node: Node, change: Callable[[Node, str, int], Awaitable[object]]
) -> None:
    session = await start(node)
    message, _ = await say(node, session, "hi")
    before = (await node.chat.get_session(ANN, session), await contents(node, session))
    with pytest.raises(NotFound):
        await change(node, session, message)
    assert (await node.chat.get_session(ANN, session), await contents(node, session)) == before


@pytest.mark.parametrize("number", [-1, 0, 2**63 - 1, 2**63, 10**30])
async def test_a_message_that_is_not_there_is_not_changed(node: Node, number: int) -> None:
    with pytest.raises(NotFound):
        await node.chat.edit_message(ANN, number, "text")
    with pytest.raises(NotFound):
        await node.chat.delete_message(ANN, number)


@pytest.mark.parametrize("id", ["", "x" * 256, "nul\0", "half\ud800", "../..", "%00"])
async def test_an_id_of_no_sessions_form_is_unknown(node: Node, id: str) -> None:
    for attempt in (
        node.chat.get_session(ANN, id),
        node.chat.update_session(ANN, id),
        node.chat.delete_session(ANN, id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_text_that_cannot_be_stored_changes_nothing(node: Node) -> None:
    session = await start(node)
    message, _ = await say(node, session, "hi")
    for text in ("", "x" * 10_001, "nul\0", "half\ud800"):
        with pytest.raises(InvalidInput):
            await node.chat.edit_message(ANN, message, text)
    with pytest.raises(InvalidInput):
        await node.chat.update_session(ANN, session, title="x" * 501)
    assert await contents(node, session) == ["hi", "hi"]
    assert (await node.chat.get_session(ANN, session)).title == "Title"


# lists


async def backdate(node: Node, session: str, days: float) -> None:
    await node.database.write(
        lambda tx: tx.execute(
            "UPDATE session SET last_activity = last_activity - ? WHERE public_id = ?",
            (int(days * 86_400_000_000), session),
        )
    )


async def test_sessions_are_listed_by_when_they_were_last_active(node: Node) -> None:
    ages = {await start(node): age for age in (0, 1.01, 6.9, 7.1, 29.9, 30.1)}
    for session, age in ages.items():
        await backdate(node, session, age)
    listed = {
        period: [ages[each.session_id] for each in page.items]
        for period, page in {
            "today": await node.chat.list_sessions(ANN, active="today"),
            "week": await node.chat.list_sessions(ANN, active="week"),
            "month": await node.chat.list_sessions(ANN, active="month"),
            "all": await node.chat.list_sessions(ANN),
        }.items()
    }
    assert listed == {
        "today": [0],
        "week": [0, 1.01, 6.9],
        "month": [0, 1.01, 6.9, 7.1, 29.9],
        "all": [0, 1.01, 6.9, 7.1, 29.9, 30.1],
    }


async def test_a_list_can_be_entered_at_an_offset(node: Node) -> None:
    made = [await start(node) for _ in range(4)][::-1]
    for offset in (0, 2, 4, 2**63, 10**30):
        page = await node.chat.list_sessions(ANN, Window(2, offset=offset))
        assert [each.session_id for each in page.items] == made[offset : offset + 2]
    for text in ("a", "b"):
        await say(node, made[0], text)
    messages = await node.chat.list_messages(ANN, made[0], Window(2, offset=1))
    assert [each.content for each in messages.items] == ["a", "b"]


@pytest.mark.parametrize(
    ("title", "said", "listed"),
    [
        ("Given", "hello", "Given"),
        (None, None, "Untitled Chat"),
        ("", None, "Untitled Chat"),
        (None, "x" * 50, "x" * 50),
        ("", "é" * 51, "é" * 50 + "..."),
        (None, "\N{GRINNING FACE}" * 60, "\N{GRINNING FACE}" * 50 + "..."),
    ],
)
async def test_a_session_without_a_title_is_listed_by_its_first_message(
    node: Node, title: str | None, said: str | None, listed: str
) -> None:
    session = await start(node, title)
    if said is not None:
        await say(node, session, said)
        await say(node, session, "later")
    [found] = (await node.chat.list_sessions(ANN)).items
    assert (found.title, found.listed_title) == (title, listed)


async def test_a_deleted_message_gives_no_title(node: Node) -> None:
    session = await start(node, None)
    message, _ = await say(node, session, "secret")
    await say(node, session, "second")
    await node.chat.delete_message(ANN, message)
    assert (await node.chat.get_session(ANN, session)).listed_title == "second"
