"""The pieces of a text by which the index finds it, as whole numbers.

A gram begins at each code point of a folded text. It has four of them where they are of an
alphabet, two where characters are many, as in Chinese or among emoji, and ends before such a
character, or where the text does. So whatever is shorter than a gram is how one begins, and in
order those lie together that begin alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from .case import Wanted, composed_form, plain_form

LENGTH = 4
MANY_BEGIN = "\u2e80"  # from here on characters are many
MANY_LENGTH = 2
BITS, MORE_BITS = 14, 10  # of a character of an alphabet; more of one of the many
KEY_BITS = LENGTH * BITS
PIECE = 500  # of a text, whose grams are taken at once
MOST = 10  # grams that are looked up for one form of a query

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
    """A number of 56 bits, the same for no two grams: no text contains NUL. Keys have the order of
    their grams."""
    return _keys_of(gram)[0]


def _keys_of(start: str) -> Keys:
    """The keys of all grams that begin like this; the first is that of the gram itself."""
    key, room = 0, KEY_BITS
    for character in start:
        code = ord(character)
        room -= BITS
        if character < MANY_BEGIN:
            key = key << BITS | code
        else:
            room -= MORE_BITS
            key = (key << BITS + MORE_BITS) + (ord(MANY_BEGIN) << MORE_BITS) + code
    return key << room, (key + 1 << room) - 1


def _grams(folded: str) -> Iterator[set[str]]:
    many = not folded.isascii() and max(folded) >= MANY_BEGIN
    for start in range(0, len(folded), PIECE):
        end = min(len(folded), start + PIECE)
        found = {folded[at : at + LENGTH] for at in range(start, end)}
        yield {_shortened(gram) for gram in found} if many else found


def _shortened(gram: str) -> str:
    """What is a gram of these characters: up to the second if one of the first two is of the many,
    up to the first of these if there is one later."""
    for place, character in enumerate(gram):
        if character >= MANY_BEGIN:
            return gram[: max(place, MANY_LENGTH)]
    return gram


def _covering(form: str) -> list[Keys]:
    """The grams of a form, whatever follows it; of a short one how a gram of it begins."""
    pieces = [form[at : at + LENGTH] for at in range(len(form))]
    grams = [_shortened(piece) for piece in pieces if _is_known(piece)]
    if not grams:
        return [_keys_of(form)]
    return [(key, key) for key in dict.fromkeys(map(key_of, grams))]


def _is_known(piece: str) -> bool:
    """Whether what follows a piece of a form is no part of the gram that begins it."""
    return len(piece) == LENGTH or (len(piece) >= MANY_LENGTH and max(piece) >= MANY_BEGIN)


def _spread(keys: list[Keys]) -> list[Keys]:
    """At most `MOST` of them, from all over the query."""
    if len(keys) <= MOST:
        return keys
    return [keys[at * (len(keys) - 1) // (MOST - 1)] for at in range(MOST)]
