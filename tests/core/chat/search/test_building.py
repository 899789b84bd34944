"""A block is made in small steps and takes a bounded amount of memory, whatever was said."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

import pytest

from mission_system.core.chat.search import building
from mission_system.core.chat.search.building import Building
from mission_system.core.chat.search.grams import grams_of, key_of
from mission_system.core.chat.search.pages import id_pages, look_up
from mission_system.core.chat.search.postings import any_of


def han(number: int, length: int) -> str:
    chance = random.Random(number)
    return "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(length))


def test_each_gram_is_found_in_the_messages_that_have_it() -> None:
    texts = ["green tea", "Grün", "日本語 green", "e\u0301 and é", "g" * 1200]
    made = Building()
    for id, text in enumerate(texts, 10):
        list(made.add(id, text))
    pages = [page for page in made.pages() if page is not None]
    assert [page for page in pages if page[0] < 0] == list(id_pages(range(10, 15)))
    keys = [first for first, _ in pages if first >= 0]
    assert keys == sorted(keys)
    for position, text in enumerate(texts):
        for gram in {gram for piece in grams_of(text) for gram in piece}:
            key = key_of(gram)
            found = [
                each for first, body in pages if first >= 0 for each in look_up(body, key, key)
            ]
            assert position in any_of(found)


def test_no_step_takes_more_than_a_piece_of_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    real = building.grams_of

    def counted(text: str) -> Iterator[set[str]]:
        for some in real(text):
            taken.append(len(some))
            yield some

    monkeypatch.setattr(building, "grams_of", counted)
    made = Building()
    steps = [step for number in range(5) for step in made.add(number, han(number, 10_000))]
    assert len(steps) == len(taken) == 5 * 20
    assert max(taken) <= 500
    assert max(len(part) for part in made._parts) < 400  # of 50,000 different grams


def test_a_full_block_of_what_is_never_said_twice_takes_a_bounded_amount_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(building, "HEAVY", building.HEAVY // 20)
    tracemalloc.start()
    try:
        made = Building()
        while not made.is_full:
            list(made.add(len(made.ids), han(len(made.ids), 10_000)))
        assert len(made.ids) < 10
        for _ in made.pages():
            pass
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20_000_000
