"""The grams of a block as a row of pages, sorted, each found by its first key."""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

FULL = 1900  # bytes of a page: with its row, two are in one of SQLite's, four in PostgreSQL's
IDS, ID = 200, 8  # message ids in a page of these, and the bytes of each
HEAD = struct.Struct("<H1s1sq")  # how many keys, how these and the lengths are written, the first
KEY, LENGTH = {b"I": 32, b"Q": 64}, {b"B": 8, b"H": 16}  # bits that are written
Page = tuple[int, bytes]
"""First key and body."""


class Packing:
    """Packs keys in ascending order, each with its postings, into pages. The first begins at 0."""

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._bodies: list[bytes] = []
        self._first = self._size = self._longest = 0

    def add(self, key: int, body: bytes) -> Page | None:
        """The page that there was no more room in, if so."""
        longest = max(self._longest, len(body))
        room = HEAD.size + (len(self._keys) + 1) * _width(key - self._first, longest) // 8
        full: Page | None = None
        if self._keys and self._size + len(body) + room > FULL:
            full = self.rest()
            self._keys, self._bodies, self._first, self._size = [], [], key, 0
            longest = len(body)
        self._keys.append(key)
        self._bodies.append(body)
        self._size += len(body)
        self._longest = longest
        return full

    def rest(self) -> Page:
        """The last page."""
        return self._first, _packed(self._first, self._keys, self._bodies)


def gram_pages(postings: Iterable[tuple[int, bytes]]) -> Iterator[Page]:
    """Pages of keys in ascending order, each with its postings."""
    packing = Packing()
    for key, body in postings:
        if (page := packing.add(key, body)) is not None:
            yield page
    yield packing.rest()


def look_up(page: bytes, first: int, last: int) -> list[bytes]:
    """The postings in a page of all keys from `first` to `last`. A search looks at some hundred
    pages, so of each no more is read than it takes."""
    count, key, length, base = HEAD.unpack_from(page)
    at = HEAD.size + count * KEY[key] // 8
    keys = _numbers(page[HEAD.size : at], key)
    begin = bisect_left(keys, first - base)
    end = bisect_right(keys, last - base, begin)
    if begin == end:
        return []
    lengths = _numbers(page[at : at + end * LENGTH[length] // 8], length)
    at += count * LENGTH[length] // 8 + sum(lengths[:begin])
    found: list[bytes] = []
    for size in lengths[begin:]:
        found.append(page[at : at + size])
        at += size
    return found


def all_postings(page: bytes) -> list[tuple[int, bytes]]:
    """All keys of a page, each with its postings."""
    count, key, length, base = HEAD.unpack_from(page)
    at = HEAD.size + count * KEY[key] // 8
    keys = _numbers(page[HEAD.size : at], key)
    lengths = _numbers(page[at : at + count * LENGTH[length] // 8], length)
    at += count * LENGTH[length] // 8
    found: list[tuple[int, bytes]] = []
    for offset, size in zip(keys, lengths, strict=True):
        found.append((base + offset, page[at : at + size]))
        at += size
    return found


def id_pages(ids: Sequence[int]) -> Iterator[Page]:
    """The message at each position; the key of a page is negative, see `id_page`."""
    for at in range(0, len(ids), IDS):
        some = ids[at : at + IDS]
        yield -1 - at // IDS, struct.pack(f"<{len(some)}q", *some)


def id_page(position: str) -> str:
    """In SQL the key of the page that holds the id at a position."""
    return f"-1 - {position} / {IDS}"


def id_at(body: str, position: str) -> str:
    """In SQL the bytes of that id, of the body of this page."""
    return f"SUBSTR({body}, CAST({position} % {IDS} * {ID} + 1 AS INTEGER), {ID})"


def first_position(page: int) -> int:
    """The first position whose id is in the page of this key."""
    return (-1 - page) * IDS


def all_ids(page: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(page) // ID}q", page)


def _numbers(body: bytes, form: bytes) -> array[int]:
    """The numbers that are written there."""
    numbers = array(form.decode(), body)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _packed(first: int, keys: list[int], bodies: list[bytes]) -> bytes:
    offsets, lengths = [key - first for key in keys], [len(body) for body in bodies]
    key, length = _forms(max(offsets, default=0), max(lengths, default=0))
    return b"".join(
        (
            HEAD.pack(len(keys), key, length, first),
            struct.pack(f"<{len(keys)}{key.decode()}", *offsets),
            struct.pack(f"<{len(keys)}{length.decode()}", *lengths),
            *bodies,
        )
    )


def _forms(offset: int, length: int) -> tuple[bytes, bytes]:
    """How keys are written that are at most so far from the first, and lengths of at most this."""
    return b"Q" if offset >> 32 else b"I", b"H" if length >> 8 else b"B"


def _width(offset: int, length: int) -> int:
    """Bits of a key and of a length."""
    key, size = _forms(offset, length)
    return KEY[key] + LENGTH[size]
