"""What "contains, ignoring case" means, in one place and the same on every database.

A text contains a query if, after Unicode's full case folding of both (`ß` is `ss`, `Σ` and `ς`
are `σ`, `İ` is `i` with a dot above), the query stands in it code point by code point; or if it
does so once both are composed too (NFC), so that `é` in one code point and in two is the same.
Nothing else is taken for the same: not `e` and `é`, not full width and half width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from unicodedata import combining, is_normalized, normalize

UNSTEADY = re.compile("[\u0345\u1f80-\u1ffc]")
"""The iota below, and Greek that is composed with it: it folds to a letter of its own."""


def plain_form(text: str) -> str:
    """Folded, code point by code point."""
    return text.lower() if text.isascii() else text.casefold()


def composed_form(text: str) -> str:
    """Folded and composed: equal for texts that are canonically equivalent but for case."""
    if text.isascii():
        return text.lower()
    folded = plain_form(text)
    # Nearly always; but the iota, being a mark no longer, would keep others from their order.
    if is_normalized("NFC", folded) and is_normalized("NFC", text) and not UNSTEADY.search(text):
        return folded
    return normalize("NFC", normalize("NFD", text).casefold())


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text that is looked for."""

    plain: str
    composed: str

    @classmethod
    def of(cls, query: str) -> Wanted:
        plain, composed = plain_form(query), composed_form(query)
        return cls(plain, plain if plain == composed else composed)

    @property
    def forms(self) -> tuple[str, ...]:
        """Its forms, each once."""
        return (self.plain,) if self.plain is self.composed else (self.plain, self.composed)

    def is_in(self, text: str) -> bool:
        plain = plain_form(text)
        if self.plain in plain:
            return True
        if self.composed is self.plain and text.isascii():
            return False
        return self.composed in composed_form(text)

    def places(self, text: str) -> list[tuple[int, int]]:
        """Where it stands, as (start, end) in code points of `text`: in order, none overlapping.

        A place never ends inside a character, though a match may: in `ß`, the query `s` is all of
        it.
        """
        plain = plain_form(text)
        if len(plain) == len(text):  # no character became two, so places are the same in both
            places = [(at, at + len(self.plain)) for at in _found(self.plain, plain)]
        else:
            places = _places(self.plain, _single(text))
        if self.composed is not self.plain or composed_form(text) != plain:
            places += _places(self.composed, _clusters(text))
        found: list[tuple[int, int]] = []
        for start, end in sorted(places):
            if not found or start >= found[-1][1]:
                found.append((start, end))
        return found


Pieces = Iterator[tuple[str, int]]
"""Folded pieces of a text, each with the number of code points that it was made from."""


def _single(text: str) -> Pieces:
    return ((plain_form(character), 1) for character in text)


def _clusters(text: str) -> Pieces:
    """Each character together with the marks that follow it, which it may be composed with."""
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or not (combining(text[end]) or _joins(text[end])):
            yield composed_form(text[start:end]), end - start
            start = end


def _joins(character: str) -> bool:
    """Vowels and finals of Hangul, which are composed with what is before them."""
    return "\u1160" <= character <= "\u11ff"


def _places(wanted: str, pieces: Pieces) -> list[tuple[int, int]]:
    folded: list[str] = []
    starts: list[int] = []  # for each code point of the folded text, that of the original
    ends: list[int] = []
    at = 0
    for piece, length in pieces:
        folded.append(piece)
        starts += [at] * len(piece)
        at += length
        ends += [at] * len(piece)
    return [(starts[at], ends[at + len(wanted) - 1]) for at in _found(wanted, "".join(folded))]


def _found(wanted: str, text: str) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + len(wanted))
