"""Of the grams of a query those are looked up that save more than they cost."""

from __future__ import annotations

from random import Random

from mission_system.core.chat.search.candidates import telling
from mission_system.core.chat.search.grams import Keys
from mission_system.core.chat.search.postings import encode
from mission_system.core.chat.search.reads import Held

SIZE = 8192


def chosen(grams: dict[str, set[int]]) -> set[str]:
    """Of some grams, each with the messages that it is in."""
    keys: dict[Keys, str] = {(at, at): name for at, name in enumerate(grams)}
    postings = {key: [encode(sorted(grams[name]), SIZE)] for key, name in keys.items()}
    [[found]] = telling([[list(keys)]], [Held(1, SIZE, 1, SIZE, postings, set())])
    return {keys[key] for key in found}


def some(share: float, seed: int) -> set[int]:
    return {at for at in range(SIZE) if Random(seed * SIZE + at).random() < share}


def test_gram_that_comes_with_another_is_not_looked_up() -> None:
    rare, other = some(0.03, 1), some(0.04, 2)
    grams = {"rare": rare, "twin": rare | some(0.001, 3), "other": other}
    assert chosen(grams) == {"rare", "other"}


def test_of_few_messages_which_gram_rules_out_more_is_judged_by_one_gram() -> None:
    """None is left in this block, but there may be some in others."""
    rare, other = some(0.01, 1), some(0.01, 2)
    both = {"rare": rare - other, "other": other, "twin": rare - other | {3}}
    assert chosen(both) == {"rare", "other"}


def test_long_list_is_not_read_to_rule_out_little_but_a_bitmap_is() -> None:
    rare = some(0.002, 1)
    ruled_out = set(sorted(rare)[::12])
    assert chosen({"rare": rare, "list": (rare | some(0.11, 2)) - ruled_out}) == {"rare"}
    assert chosen({"rare": rare, "map": (rare | some(0.6, 2)) - ruled_out}) == {"rare", "map"}
