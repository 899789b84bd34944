"""Search finds literal text and nothing else."""

from __future__ import annotations

import pytest

from mission_system.core.chat.paging import Window
from mission_system.core.errors import InvalidInput
from mission_system.core.node import Node

from ..conftest import ANN, BOB, say

TEXTS = [
    "100% sure",
    "snake_case",
    'say "hi"',
    "it's",
    "C:\\temp",
    "a AND b",
    "NEAR(x)",
    "-- x",
    "🙂",
]


@pytest.fixture
async def session(node: Node) -> str:
    return (await node.chat.create_session(ANN, title="T")).session_id


async def found(node: Node, query: str, limit: int = 50) -> list[str]:
    results = await node.chat.search(ANN, query, Window(limit))
    return [each.message.content for each in results.items if each.message.role == "user"]


async def test_nothing_in_a_query_has_a_special_meaning(node: Node, session: str) -> None:
    for text in TEXTS:
        await say(node, session, text)
    for query in ("%", "_", '"', "'", "\\", "AND", "NEAR(", "--", "🙂"):
        assert await found(node, query) == [text for text in TEXTS if query in text][::-1], query
    assert await found(node, "*") == []


async def test_case_is_ignored_in_every_script(node: Node, session: str) -> None:
    await say(node, session, "Ärger in der STRASSE, ΣΊΣΥΦΟΣ")
    for query in ("ärger", "straße", "σίσυφος", "IN DER"):
        assert len(await found(node, query)) == 1, query


async def test_the_newest_of_the_users_undeleted_messages_come_first(
    node: Node, session: str
) -> None:
    ids = [(await say(node, session, f"word {n}"))[0] for n in range(3)]
    await node.chat.delete_message(ANN, ids[1])
    assert await found(node, "WORD") == ["word 2", "word 0"]
    assert len((await node.chat.search(ANN, "word", Window(1))).items) == 1
    assert (await node.chat.search(ANN, "word")).items[0].session_title == "T"
    assert (await node.chat.search(BOB, "word")).items == ()
    await node.chat.delete_session(ANN, session)
    assert await found(node, "word") == []


@pytest.mark.parametrize(("query", "limit"), [("", 1), ("x" * 501, 1), ("x", 0), ("x", 501)])
async def test_a_search_is_bounded(node: Node, query: str, limit: int) -> None:
    with pytest.raises(InvalidInput):
        await node.chat.search(ANN, query, Window(limit))
