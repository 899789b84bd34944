"""Search finds literal text and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mission_system.core.chat.paging import Window
from mission_system.core.chat.search import service, sieve, turn
from mission_system.core.chat.search.case import Wanted
from mission_system.core.chat.search.reads import Reads
from mission_system.core.chat.search.span import Span
from mission_system.core.errors import Busy, InvalidInput
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


FRESH = "SELECT * FROM (SELECT m.id, m.content"  # of what is in no block yet


class Interfering:
    """A storage that calls `interfere` before each read that starts like that."""

    def __init__(self, node: Node, start: str, interfere: Any) -> None:
        self._real = node.database
        self._start = start
        self._interfere = interfere
        self.fetch_one = self._real.fetch_one

    async def fetch_all(self, sql: str, params: Any = ()) -> Any:
        if sql.startswith(self._start):
            await self._interfere()
        return await self._real.fetch_all(sql, params)


async def test_any_number_of_edited_messages_is_looked_at(node: Node, session: str) -> None:
    message, _ = await say(node, session, "word")
    many = {message, *range(1_000_000, 1_100_000)}
    rows = await Reads(node.database).of(Span(ANN.user_id, 0, 2_000_000), many)
    assert [row["id"] for row in rows] == [message]


async def test_others_have_their_turn_while_many_texts_are_looked_at(
    node: Node, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        await say(node, session, f"word {number}")
    monkeypatch.setattr(turn, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(sieve, "STEP", 1)
    looked, turns = 0, set[int]()
    real = Wanted.is_in

    def is_in(self: Wanted, text: str) -> bool:
        nonlocal looked
        looked += 1
        return real(self, text)

    monkeypatch.setattr(Wanted, "is_in", is_in)
    searching = asyncio.create_task(found(node, "nowhere"))
    while not searching.done():
        turns.add(looked)
        await asyncio.sleep(0)
    assert len(turns) > 10


async def test_a_search_that_takes_too_long_is_given_up(
    node: Node, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SECONDS", 0.05)
    await say(node, session, "word")
    storage: Any = Interfering(node, FRESH, asyncio.Event().wait)
    with pytest.raises(Busy):
        await service.Search(storage, lambda _: None).newest(ANN, "word", Window(2))


async def test_one_user_takes_one_turn_and_not_those_of_others(node: Node, session: str) -> None:
    await say(node, session, "word")
    begun, go = 0, asyncio.Event()

    async def hang() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            await go.wait()

    search = service.Search(Interfering(node, FRESH, hang), lambda _: None)  # type: ignore[arg-type]
    anns = [asyncio.create_task(search.newest(ANN, "word", Window(2))) for _ in range(service.EACH)]
    while not begun:
        await asyncio.sleep(0)
    assert (await search.newest(BOB, "word", Window(2))).items == ()
    with pytest.raises(Busy, match="waiting"):
        await search.newest(ANN, "word", Window(2))
    assert begun == 2
    go.set()
    assert {len(page.items) for page in await asyncio.gather(*anns)} == {2}
    assert len((await search.newest(ANN, "word", Window(2))).items) == 2
