"""Sets of positions, and pages of them, give back what was put in."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from hypothesis import assume, given
from hypothesis import strategies as st

from mission_system.core.chat.search import pages, postings
from mission_system.core.chat.search.case import Wanted
from mission_system.core.chat.search.grams import grams_of, key_of, needed
from mission_system.core.chat.search.postings import all_of, any_of, encode

SIZE = 4096
positions = st.one_of(
    st.sets(st.integers(0, SIZE - 1), min_size=1, max_size=20),
    st.integers(1, 40).map(lambda step: set(range(0, SIZE, step))),
    st.integers(0, SIZE - 1).map(lambda start: set(range(start, SIZE))),
)


@given(st.lists(positions, min_size=1, max_size=4))
def test_sets_meet_whatever_form_they_are_kept_in(sets: list[set[int]]) -> None:
    kept = [encode(sorted(each), SIZE) for each in sets]
    assert all_of(kept) == set.intersection(*sets)
    assert any_of(kept) == set.union(*sets)
    assert max(len(each) for each in kept) <= 1 + SIZE // 8


@given(st.dictionaries(st.integers(1, 1 << 62), positions, min_size=1, max_size=60))
def test_each_key_is_found_in_the_page_that_begins_before_it(
    places: dict[int, set[int]],
) -> None:
    kept = {key: encode(sorted(each), SIZE) for key, each in places.items()}
    made = list(pages.gram_pages(sorted(kept.items())))
    firsts = [first for first, _ in made]
    assert firsts[0] == 0
    assert firsts == sorted(set(firsts))
    for key, body in kept.items():
        page = max(first for first in firsts if first <= key)
        assert pages.look_up(dict(made)[page], key, key) == [body]
        assert pages.look_up(dict(made)[page], key + 1, key + 1) in ([], [kept.get(key + 1)])
    low, high = min(kept), max(kept)
    everything = [each for _, page in made for each in pages.look_up(page, low, high)]
    assert everything == [kept[key] for key in sorted(kept)]


def test_each_position_leads_to_its_message() -> None:
    ids = [7 * n + 3 for n in range(1000)]
    made = dict(pages.id_pages(ids))
    sql = f"SELECT {pages.id_page('p')}, {pages.id_at('body', 'p')} FROM (SELECT ? AS p, ? AS body)"
    with closing(sqlite3.connect(":memory:")) as database:
        for position, id in enumerate(ids):
            first = -1 - position // 200
            row = database.execute(sql, (position, made[first])).fetchone()
            assert row == (first, id.to_bytes(8, "little"))
            assert position - position % 200 == pages.first_position(first)
    assert [id for key in sorted(made, reverse=True) for id in pages.all_ids(made[key])] == ids


@given(st.data())
def test_what_blocks_know_is_joined_and_what_is_gone_leaves_no_trace(data: st.DataObject) -> None:
    kept = [data.draw(st.lists(st.booleans(), min_size=1, max_size=700)) for _ in range(3)]
    size = sum(map(sum, kept))
    assume(size)
    sets = [
        data.draw(
            st.sets(st.integers(0, len(block) - 1), min_size=1) | st.just({*range(len(block))})
        )
        for block in kept
    ]
    parts: list[tuple[postings.Moved, bytes]] = []
    expected: list[int] = []
    start = 0
    for block, places in zip(kept, sets, strict=True):
        moved = postings.Moved.of(start, bytes(block))
        parts.append((moved, encode(sorted(places), len(block))))
        expected += [start + sum(block[:place]) for place in sorted(places) if block[place]]
        start += sum(block)
    joined = postings.joined(parts, size)
    assert (joined is None) == (not expected)
    if joined is not None:
        assert any_of([joined]) == set(expected)
        assert len(joined) <= 2 * len(encode(expected, size))


def test_pages_give_back_all_that_they_hold() -> None:
    held = [(key * key, bytes(key % 7 + 1)) for key in range(2000)]
    given = [each for _, body in pages.gram_pages(held) for each in pages.all_postings(body)]
    assert given == held


texts = st.text(st.sampled_from("abAßΣ e\u0301é日本🙂%"), min_size=1, max_size=20)


@given(texts, st.data())
def test_whatever_contains_a_query_has_its_grams(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    query = text[start : data.draw(st.integers(start + 1, len(text)))]
    have = {key_of(gram) for piece in grams_of(text) for gram in piece}
    choices = needed(Wanted.of(query))
    assert any(
        all(any(first <= key <= last for key in have) for first, last in keys) for keys in choices
    )


@given(st.lists(texts, max_size=10))
def test_keys_have_the_order_of_their_grams(some: list[str]) -> None:
    grams = sorted({gram for text in some for piece in grams_of(text) for gram in piece})
    keys = [key_of(gram) for gram in grams]
    assert keys == sorted(set(keys))
    assert all(0 < key < 1 << 63 for key in keys)
