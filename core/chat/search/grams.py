"""The pieces of a text by which the index finds it, as whole numbers.

A gram begins at each code point of a folded text: three of them where they are of an alphabet, two
where characters are many, as in Chinese or among emoji, and at the end as many as there are left.
So whatever is shorter than a gram is how one begins, and in order those lie together that begin
alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from .case import Wanted, composed_form, plain_form

BITS = 21  # of one code point
LENGTH = 3
MANY_BEGIN = "\u2e80"  # from here on characters are many
PIECE = 500  # of a text, whose grams are taken at once
MOST = 8  # grams that are looked up for one form of a query

Keys = tuple[int, int]
"""The first and the last of some keys that follow each other: of one gram, or of all that begin
alike."""


def grams_of(text: str) -> Iterator[set[str]]:
    """All grams of a text that may be searched, of a piece of it at a time."""
    plain = plain_form(text)
    yield from _grams(plain)
    composed = composed_form(text)
    if composed != plain:
        yield from _grams(composed)


def needed(wanted: Wanted) -> list[list[Keys]]:
    """For each form of a query, keys of which some must be in any text that contains it."""
    return [_spread(_covering(form)) for form in wanted.forms]


def key_of(gram: str) -> int:
    """A positive number of 63 bits, the same for no two grams: no text contains NUL. Keys have the
    order of their grams."""
    key = 0
    for character in gram:
        key = key << BITS | ord(character)
    return key << BITS * (LENGTH - len(gram))


def _grams(folded: str) -> Iterator[set[str]]:
    many = not folded.isascii() and max(folded) >= MANY_BEGIN
    for start in range(0, len(folded), PIECE):
        end = min(len(folded), start + PIECE)
        found = {folded[at : at + LENGTH] for at in range(start, end)}
        yield {_shortened(gram) for gram in found} if many else found


def _shortened(gram: str) -> str:
    return gram if max(gram) < MANY_BEGIN else gram[:2]


def _covering(form: str) -> list[Keys]:
    if len(form) < LENGTH:
        first = key_of(form)
        return [(first, first | (1 << BITS * (LENGTH - len(form))) - 1)]
    grams = (_shortened(form[at : at + LENGTH]) for at in range(len(form) - LENGTH + 1))
    return [(key, key) for key in dict.fromkeys(map(key_of, grams))]


def _spread(keys: list[Keys]) -> list[Keys]:
    """At most `MOST` of them, from all over the query."""
    if len(keys) <= MOST:
        return keys
    return [keys[at * (len(keys) - 1) // (MOST - 1)] for at in range(MOST)]
