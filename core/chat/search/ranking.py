"""How well a message answers a query of several words, and which part of it to show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .case import Wanted, composed_form

MAX_WORDS = 10
SATURATION = 1.2  # how soon more of the same word adds little
LENGTH_COUNTS = 0.75
WHOLE_WORD = 2  # as good as so many parts of words
PHRASE = 1.5  # for the words as they stand in the query
EXCERPT = 240  # characters
BEFORE = 60  # characters shown before the first match
MORE = "…"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of text, and whether it is what was looked for."""

    text: str
    matched: bool


def words_of(query: str) -> list[str]:
    """The words of a query, each once; of one without any, all of it."""
    return list(dict.fromkeys(query.split())) or [query]


def best_first(texts: Sequence[str], query: str) -> list[int]:
    """The order of these texts, which all contain every word of a query. Equal ones stay in theirs.

    Each word counts the more the oftener it stands in a text for its length, and whole words more
    than parts of others, as BM25 does it; how rare a word is makes no difference where all have it.
    """
    words = [composed_form(word) for word in words_of(query)]
    phrase = composed_form(" ".join(query.split()))
    whole = [re.compile(rf"(?<!\w){re.escape(word)}(?!\w)") for word in words]
    folded = [composed_form(text) for text in texts]
    mean = sum(map(len, folded)) / max(1, len(folded))

    def score(text: str) -> float:
        damping = SATURATION * (1 - LENGTH_COUNTS + LENGTH_COUNTS * len(text) / mean)
        total = 0.0
        for word, pattern in zip(words, whole, strict=True):
            often = text.count(word) + (WHOLE_WORD - 1) * len(pattern.findall(text))
            total += often / (often + damping)
        return total * PHRASE if len(words) > 1 and phrase in text else total

    scores = [score(text) for text in folded]
    return sorted(range(len(texts)), key=lambda place: -scores[place])


def excerpt(text: str, wanted: Sequence[Wanted]) -> tuple[Part, ...]:
    """The part of a text around the first match, in pieces; together they are what to show."""
    places = sorted(place for each in wanted for place in each.places(text))
    start = max(0, places[0][0] - BEFORE) if places else 0
    end = min(len(text), start + EXCERPT)
    start = max(0, end - EXCERPT)
    parts = [Part(MORE, False)] if start else []
    at = start
    for first, last in places:
        first, last = max(first, at), min(last, end)
        if first >= last:
            continue
        if first > at:
            parts.append(Part(text[at:first], False))
        parts.append(Part(text[first:last], True))
        at = last
    if at < end:
        parts.append(Part(text[at:end], False))
    if end < len(text):
        parts.append(Part(MORE, False))
    return tuple(parts)
