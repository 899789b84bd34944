"""The grams of a block as a row of pages, sorted, each found by its first key."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

FULL = 1600  # bytes of a page: with its row it stays where PostgreSQL keeps rows in one piece
IDS = 200  # message ids in a page of these
Page = tuple[int, bytes]
"""First key and body."""


def gram_pages(postings: Iterable[tuple[int, bytes]]) -> Iterator[Page]:
    """Pages of keys in ascending order, each with its postings. The first begins at 0."""
    keys: list[int] = []
    bodies: list[bytes] = []
    first, size = 0, 0
    for key, body in postings:
        if keys and size + len(body) + 10 > FULL:
            yield first, _packed(keys, bodies)
            keys, bodies, first, size = [], [], key, 0
        keys.append(key)
        bodies.append(body)
        size += len(body) + 10
    yield first, _packed(keys, bodies)


def look_up(page: bytes, first: int, last: int) -> list[bytes]:
    """The postings in a page of all keys from `first` to `last`."""
    (count,) = struct.unpack_from("<H", page)
    keys: tuple[int, ...] = struct.unpack_from(f"<{count}q", page, 2)
    begin, end = bisect_left(keys, first), bisect_right(keys, last)
    if begin == end:
        return []
    lengths: tuple[int, ...] = struct.unpack_from(f"<{end}H", page, 2 + 8 * count)
    at = 2 + 10 * count + sum(lengths[:begin])
    found: list[bytes] = []
    for length in lengths[begin:]:
        found.append(page[at : at + length])
        at += length
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


def _packed(keys: list[int], bodies: list[bytes]) -> bytes:
    count = len(keys)
    lengths = [len(body) for body in bodies]
    return struct.pack(f"<H{count}q{count}H", count, *keys, *lengths) + b"".join(bodies)
