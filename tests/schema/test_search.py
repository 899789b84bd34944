"""Search over GraphQL: newest first in pages, or ranked, with what matched marked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mission_system.core.chat.search.case import Wanted
from mission_system.core.chat.search.ranking import Part
from mission_system.schema import search as surface

from .conftest import Client, Json

QUERY = """query S($q: String!, $order: SearchOrder!, $first: Int, $after: String) {
  search(query: $q, order: $order, first: $first, after: $after) {
    nodes { message { content role } excerpt { text matched } }
    pageInfo { hasNextPage endCursor }
  }
}"""


async def search(client: Client, q: str, **given: object) -> Json:
    found: Json = (await client.data(QUERY, q=q, **{"order": "NEWEST", **given}))["search"]
    return found


@pytest.fixture
async def said(client: Client) -> None:
    for text in ("green leaves, black tea", "fine green tea", "<b>GREEN</b>"):
        await client.send(text)


async def test_what_matched_is_marked_and_nothing_is_markup(client: Client, said: None) -> None:
    newest = (await search(client, "green<"))["nodes"][1]
    assert newest["excerpt"] == [
        {"text": "<b>", "matched": False},
        {"text": "GREEN<", "matched": True},
        {"text": "/b>", "matched": False},
    ]


async def test_pages_go_on_where_the_last_one_ended(client: Client, said: None) -> None:
    page = await search(client, "GREEN", first=4)
    rest = await search(client, "GREEN", first=4, after=page["pageInfo"]["endCursor"])
    assert page["pageInfo"]["hasNextPage"]
    assert not rest["pageInfo"]["hasNextPage"]
    assert len(page["nodes"] + rest["nodes"]) == 6


async def test_the_best_answer_comes_first_wherever_the_words_stand(
    client: Client, said: None
) -> None:
    found = await search(client, "TEA green", order="RELEVANCE", first=2)
    assert found["nodes"][0]["message"]["content"] == "fine green tea"
    marked = [part["text"] for part in found["nodes"][0]["excerpt"] if part["matched"]]
    assert marked == ["green", "tea"]
    assert not found["pageInfo"]["hasNextPage"]


async def test_a_ranking_has_no_next_page(client: Client, said: None) -> None:
    cursor = (await search(client, "green", first=1))["pageInfo"]["endCursor"]
    error = await client.error(QUERY, q="green", order="RELEVANCE", first=1, after=cursor)
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert "first" in error["message"]


async def test_others_have_their_turn_between_two_excerpts(
    client: Client, said: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, turns = 0, list[int]()
    real = surface.excerpt

    def noted(text: str, wanted: Sequence[Wanted]) -> tuple[Part, ...]:
        turns.append(turn)
        return real(text, wanted)

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(surface, "excerpt", noted)
    other = asyncio.create_task(others())
    try:
        await search(client, "green")
    finally:
        other.cancel()
    assert len(turns) == len(set(turns)) == 6
