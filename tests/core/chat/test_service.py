"""Sessions and messages: listed by keyset, kept apart by user."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mission_system.core.chat.paging import Window
from mission_system.core.clock import from_datetime
from mission_system.core.errors import InvalidInput, NotFound
from mission_system.core.node import Node

from .conftest import ANN, BOB, say


async def test_sessions_are_listed_last_active_first_page_by_page(node: Node) -> None:
    made = [(await node.chat.create_session(ANN, title=str(n))).session_id for n in range(7)]
    await say(node, made[2], "wakes it up")
    expected = [made[2], made[6], made[5], made[4], made[3], made[1], made[0]]
    seen: list[str] = []
    after = None
    for size in (3, 3, 1):
        page = await node.chat.list_sessions(ANN, Window(3, after))
        assert len(page.items) == size
        seen += [session.session_id for session in page.items]
        after = page.cursors[-1]
    assert not page.has_next
    assert seen == expected


async def test_messages_are_listed_oldest_first_page_by_page(node: Node) -> None:
    session = (await node.chat.create_session(ANN)).session_id
    for text in ("a", "b", "c"):
        await say(node, session, text)
    first = await node.chat.list_messages(ANN, session, Window(4))
    rest = await node.chat.list_messages(ANN, session, Window(4, first.cursors[-1]))
    assert [m.content for m in first.items + rest.items] == ["a", "a", "b", "b", "c", "c"]
    assert (first.has_next, rest.has_next) == (True, False)
    assert (await node.chat.get_session(ANN, session)).message_count == 6


async def test_each_user_sees_only_what_is_theirs(node: Node) -> None:
    session = (await node.chat.create_session(ANN)).session_id
    await say(node, session, "mine")
    message = (await node.chat.list_messages(ANN, session)).items[0]
    assert (await node.chat.list_sessions(BOB)).items == ()
    assert await node.chat.get_messages(BOB, [message.message_id]) == {}
    for attempt in (
        node.chat.get_session(BOB, session),
        node.chat.list_messages(BOB, session),
        node.chat.get_message(BOB, message.message_id),
    ):
        with pytest.raises(NotFound):
            await attempt


@pytest.mark.parametrize("cursor", ["", "x", "W10", "WzFd", "WyJhIiwxXQ", "é", "A" * 5000])
async def test_cursor_that_no_list_gave_out_is_refused(node: Node, cursor: str) -> None:
    with pytest.raises(InvalidInput) as error:
        await node.chat.list_sessions(ANN, Window(after=cursor))
    assert error.value.field == "after"


@pytest.mark.parametrize("first", [0, -1, 501, 10**12])
async def test_page_size_is_bounded(node: Node, first: int) -> None:
    with pytest.raises(InvalidInput):
        await node.chat.list_sessions(ANN, Window(first))


@pytest.mark.parametrize("title", ["x" * 501, "nul\x00", "half\ud800"])
async def test_title_that_cannot_be_stored_is_refused(node: Node, title: str) -> None:
    with pytest.raises(InvalidInput):
        await node.chat.create_session(ANN, title=title)
    assert (await node.chat.list_sessions(ANN)).items == ()


@pytest.mark.parametrize("number", [-1, 0, 1, 2**63 - 1, 2**63, 10**30])
async def test_message_that_is_not_there_is_not_found(node: Node, number: int) -> None:
    with pytest.raises(NotFound):
        await node.chat.get_message(ANN, number)


async def test_session_and_its_stream_grow_together(node: Node) -> None:
    session = await node.chat.create_session(ANN)
    assert session.last_seq == await node.events.last_seq(ANN, session.session_id)
    await say(node, session.session_id, "hi")
    after = await node.chat.get_session(ANN, session.session_id)
    assert after.last_seq == await node.events.last_seq(ANN, session.session_id)
    assert after.last_seq > session.last_seq


async def test_the_last_activity_is_the_latest_whatever_the_order_of_its_units(node: Node) -> None:
    """Units that run at once may end in another order than that of their times."""
    session = await node.chat.create_session(ANN, title="old")
    late = session.last_activity + timedelta(hours=1)
    await node.database.write(
        lambda tx: tx.execute(
            "UPDATE session SET last_activity = ? WHERE id = ?", (from_datetime(late), session.id)
        )
    )
    await say(node, session.session_id, "earlier")
    assert (await node.chat.get_session(ANN, session.session_id)).last_activity == late
    changed = await node.chat.update_session(ANN, session.session_id, title="new")
    assert (changed.title, changed.last_activity) == ("new", late)
