"""A page far into a long list is what counting would have found."""

from __future__ import annotations

import asyncio
import random

import pytest

from mission_system.core.chat import places
from mission_system.core.chat import service as chat_service
from mission_system.core.chat.paging import Window
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.storage.persistence import Params, Row, Transaction

from .conftest import ANN, BOB, say


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "CHUNK", 2)
    monkeypatch.setattr(places, "READ", 3)
    monkeypatch.setattr(places, "DEEP", 1)
    monkeypatch.setattr(chat_service, "DEEP", 1)


async def listed(node: Node, offset: int, deleted: bool) -> list[str]:
    page = await node.chat.list_sessions(ANN, Window(2, offset=offset), include_deleted=deleted)
    return [session.session_id for session in page.items]


async def check(node: Node) -> None:
    for deleted in (False, True):
        rows = await node.database.fetch_all(
            "SELECT public_id FROM session WHERE user_id = ?"
            + ("" if deleted else " AND deleted_at IS NULL")
            + " ORDER BY last_activity DESC, id DESC",
            (ANN.user_id,),
        )
        ids = [row["public_id"] for row in rows]
        for offset in range(len(ids) + 2):
            assert await listed(node, offset, deleted) == ids[offset : offset + 2]


async def test_every_page_is_right_after_every_change(node: Node) -> None:
    chance = random.Random(1)
    sessions: list[str] = []
    for number in range(60):
        await node.chat.create_session(BOB)
        some = chance.choice(sessions) if sessions else ""
        match chance.choice(("create", "create", "create", "say", "rename", "soft", "hard")):
            case "say" if some:
                await say(node, some, "hi")
            case "rename" if some:
                await node.chat.update_session(ANN, some, title="T")
            case "soft" | "hard" as how if some:
                await node.chat.delete_session(ANN, some, soft=how == "soft")
                sessions.remove(some)
            case _:
                sessions.append((await node.chat.create_session(ANN)).session_id)
        if number % 3 == 0:
            await check(node)
    await check(node)


async def test_what_changes_while_places_are_read_is_placed_once(node: Node) -> None:
    sessions = [(await node.chat.create_session(ANN)).session_id for _ in range(20)]
    pages = [listed(node, 3, False) for _ in range(3)]
    changes = [node.chat.update_session(ANN, each, title="T") for each in sessions[::3]]
    await asyncio.gather(*pages, *changes)
    await check(node)


async def test_places_that_are_too_many_to_keep_are_counted(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MOST", 5)
    for _ in range(9):
        await node.chat.create_session(ANN)
    await check(node)


async def test_whoever_has_few_sessions_leaves_nothing_behind(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "DEEP", 4)
    for _ in range(3):
        await node.chat.create_session(ANN)
    for number in range(20):
        assert await node.chat.places.page(f"nobody {number}", False, 0, 1000, 2) == []
    await check(node)
    assert not node.chat.places._orders
    await node.chat.create_session(ANN)
    await check(node)
    assert len(node.chat.places._orders) == 2
    for session in (await node.chat.list_sessions(ANN, Window(4))).items:
        await node.chat.delete_session(ANN, session.session_id, soft=False)
        await check(node)
    assert not node.chat.places._orders


async def test_all_users_together_leave_no_more_behind_than_is_bearable(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MOST", 5)
    for name in "abcd":
        for _ in range(2):
            await node.chat.create_session(Caller(name))
        await node.chat.places.page(name, False, 0, 1, 2)
    assert [user for user, _ in node.chat.places._orders] == ["c", "d"]


async def test_who_waits_for_places_that_are_forgotten_meanwhile_reads_them_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "DEEP", 100)
    sessions = [(await node.chat.create_session(ANN)).session_id for _ in range(8)]
    pages = [asyncio.create_task(listed(node, 1, False)) for _ in range(4)]
    await asyncio.sleep(0)
    assert [len(page) for page in await asyncio.gather(*pages)] == [2] * 4
    await node.chat.update_session(ANN, sessions[0], title="T")
    await check(node)


async def test_a_change_that_is_told_only_after_the_reading_leaves_no_ghost(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [(await node.chat.create_session(ANN)).session_id for _ in range(9)]
    fetch_all, reads = node.database.fetch_all, 0

    async def move(tx: Transaction) -> None:
        newest = "(SELECT MAX(last_activity) + 1 FROM session)"
        where = "WHERE public_id = ? RETURNING id"
        row = await tx.fetch_one(
            f"UPDATE session SET last_activity = {newest} {where}", (sessions[0],)
        )
        assert row is not None
        moved.append(row[0])

    async def reading(sql: str, params: Params = ()) -> list[Row]:
        nonlocal reads
        rows = await fetch_all(sql, params)
        reads += "(last_activity, id) >" in sql
        if reads == 1 and not moved:
            await node.database.write(move)
        return rows

    moved: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(node.database, "fetch_all", reading)
        await listed(node, 1, False)
    assert moved
    node.chat.places.touch(ANN.user_id, moved[0])
    await check(node)
