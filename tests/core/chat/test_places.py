"""A page far into a long list is what counting would have found."""

from __future__ import annotations

import asyncio
import random

import pytest

from mission_system.core.chat import places
from mission_system.core.chat import service as chat_service
from mission_system.core.chat.paging import Window
from mission_system.core.node import Node

from .conftest import ANN, BOB, say


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "CHUNK", 2)
    monkeypatch.setattr(places, "READ", 3)
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
