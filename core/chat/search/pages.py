"""The grams of a block as a row of pages, sorted, each found by its first key."""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

FULL = 1900  # bytes of a page: with its row, two are in one of SQLite's, four in PostgreSQL's
IDS = 200  # message ids in a page of these
HEAD = struct.Struct("<H1s1sq")  # how many keys, how these and the lengths are written, the first
KEY, LENGTH = {b"I": 32, b"Q": 64}, {b"B": 8, b"H": 16}  # bits that are written
Page = tuple[int, bytes]
"""First key and body."""


def gram_pages(postings: Iterable[tuple[int, bytes]]) -> Iterator[Page]:
    """Pages of keys in ascending order, each with its postings. The first begins at 0."""
    keys: list[int] = []
    bodies: list[bytes] = []
    first, size, longest = 0, 0, 0
    for key, body in postings:
        longer = max(longest, len(body))
        room = HEAD.size + (len(keys) + 1) * _width(key - first, longer) // 8
        if keys and size + len(body) + room > FULL:
            yield first, _packed(first, keys, bodies)
            keys, bodies, first, size, longer = [], [], key, 0, len(body)
        keys.append(key)
        bodies.append(body)
        size += len(body)
        longest = longer
    yield first, _packed(first, keys, bodies)


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


def id_pages(ids: Sequence[int]) -> Iterator[Page]:
    """The message at each position; the key of a page is negative, see `id_page`."""
    for at in range(0, len(ids), IDS):
        some = ids[at : at + IDS]
        yield id_page(at), struct.pack(f"<{len(some)}q", *some)


def id_page(position: int) -> int:
    """The key of the page that holds the id at a position."""
    return -1 - position // IDS


def id_at(page: bytes, position: int) -> int:
    id: int
    (id,) = struct.unpack_from("<q", page, position % IDS * 8)
    return id


def all_ids(page: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(page) // 8}q", page)


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
