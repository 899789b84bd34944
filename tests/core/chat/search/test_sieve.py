"""What is found contains what is looked for, and what is read next follows from what was found."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mission_system.core.chat.search.case import Wanted
from mission_system.core.chat.search.sieve import FIRST, MOST, Sieve
from mission_system.core.chat.search.span import Span

SPAN = Span("ann", 0, 1_000_000)


class Stored:
    """Messages as they are by now, as `Reads` gives them."""

    def __init__(self, texts: dict[int, str]) -> None:
        self.texts = texts
        self.asked: list[list[int]] = []

    async def of(self, span: Span, ids: Collection[int]) -> list[Any]:
        self.asked.append(list(ids))
        return [{"id": id, "content": self.texts[id]} for id in ids if id in self.texts]


def sieve(stored: Stored, most: int = 51) -> Sieve:
    return Sieve(stored, SPAN, [Wanted.of("needle")], most)  # type: ignore[arg-type]


def rows(texts: dict[int, str]) -> list[Any]:
    return [{"id": id, "content": text} for id, text in texts.items()]


async def test_only_rows_of_what_matches_are_read_and_they_are_looked_at_again() -> None:
    said = {9: "needle", 8: "hay", 7: "Needle", 6: "needle", 5: "needle", 4: "needle"}
    now = {**said, 7: "edited meanwhile"}
    del now[6]
    stored = Stored(now)
    sifting = sieve(stored, most=3)
    await sifting.sift(rows(said), whole=False)
    assert [row["id"] for row in sifting.found] == [9, 5, 4]
    assert stored.asked == [[9, 7, 6], [5, 4]]
    assert not sifting.missing


async def test_what_is_gone_is_passed_over() -> None:
    sifting = sieve(Stored({}))
    await sifting.sift([{"id": 1, "content": None}], whole=False)  # type: ignore[list-item]
    assert sifting.found == []


async def test_candidates_that_are_mostly_wrong_are_read_in_bigger_batches() -> None:
    good, bad = sieve(Stored({})), sieve(Stored({}))
    assert good.next_size == FIRST
    await good.sift_candidates(rows(dict.fromkeys(range(40), "needle")), whole=True)
    await bad.sift_candidates(
        rows({n: "hay" if n % 20 else "needle" for n in range(64)}), whole=True
    )
    assert (good.is_coarse, good.next_size) == (False, FIRST)
    assert (bad.is_coarse, bad.next_size) == (True, MOST)
    assert len(bad.found) == 4
