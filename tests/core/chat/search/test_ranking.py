"""What answers a query of several words best, and what is shown of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mission_system.core.chat.search.case import Wanted
from mission_system.core.chat.search.ranking import Part, best_first, excerpt
from mission_system.core.errors import InvalidInput
from mission_system.core.node import Node

from ..conftest import ANN, BOB, say


def ranked(query: str, *texts: str) -> list[str]:
    return [texts[place] for place in best_first(texts, query)]


def test_more_of_a_word_for_the_length_of_the_text_is_better() -> None:
    often, once = "tea tea tea and talk", "tea and then we talked of other things"
    assert ranked("tea", once, often) == [often, once]


def test_whole_words_are_better_than_parts() -> None:
    assert ranked("tea", "the team won", "the tea won") == ["the tea won", "the team won"]


def test_words_as_they_stand_in_the_query_are_better_than_far_apart() -> None:
    apart, phrase = "green leaves and black tea", "leaves of fine green tea"
    assert ranked("GREEN tea", apart, phrase) == [phrase, apart]


def test_equal_ones_keep_their_order() -> None:
    assert best_first(["a b", "a b", "a b"], "a") == [0, 1, 2]


def test_an_excerpt_begins_shortly_before_the_first_match() -> None:
    text = "x" * 500 + "Needle" + "y" * 500
    parts = excerpt(text, [Wanted.of("nEEdle")])
    assert parts[0] == Part("…", False)
    assert parts[1] == Part("x" * 60, False)
    assert parts[2] == Part("Needle", True)
    assert parts[-1] == Part("…", False)
    assert len("".join(part.text for part in parts)) == 242


def test_an_excerpt_of_a_short_text_is_all_of_it() -> None:
    assert excerpt("Straße & <b>", [Wanted.of("SS"), Wanted.of("<")]) == (
        Part("Stra", False),
        Part("ß", True),
        Part("e & ", False),
        Part("<", True),
        Part("b>", False),
    )
    assert excerpt("nothing", [Wanted.of("x")]) == (Part("nothing", False),)


texts = st.text(st.sampled_from("aAbßé e\u0301日🙂"), max_size=400)


@given(texts, st.lists(st.text(st.sampled_from("aAbßé e\u0301"), min_size=1, max_size=3)))
def test_an_excerpt_is_a_piece_of_the_text(text: str, queries: list[str]) -> None:
    wanted = [Wanted.of(query) for query in queries]
    parts = excerpt(text, wanted)
    shown = "".join(part.text for part in parts if part.text != "…")
    assert shown in text
    assert len(shown) == min(240, len(text))
    assert all(part.text for part in parts)
    assert any(part.matched for part in parts) or not any(each.is_in(shown) for each in wanted)


async def test_every_word_must_be_there_wherever(node: Node) -> None:
    session = (await node.chat.create_session(ANN)).session_id
    for text in ("tea is green", "green", "Green Tea", "greentea"):
        await say(node, session, text)
    found = (await node.chat.search_best(ANN, "  green   TEA ", 3)).items
    assert [each.message.content for each in found] == ["Green Tea", "Green Tea", "tea is green"]
    assert (await node.chat.search_best(BOB, "green")).items == ()


@pytest.mark.parametrize("query", ["", " ".join(map(str, range(11)))])
async def test_too_many_words_are_refused(node: Node, query: str) -> None:
    with pytest.raises(InvalidInput):
        await node.chat.search_best(ANN, query)
