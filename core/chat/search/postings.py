"""Which messages of a block a gram is in: sets of positions as bytes, small and quickly met."""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, compress
from operator import and_, or_, sub

GAPS, PLACES, BITMAP = b"g", b"p", b"b"
GONE = -1
FEW = 32  # bytes of a list among which one position is better sought than all are read
_FLAGS = bytes.maketrans(b"01", b"\0\1")


@dataclass(frozen=True, slots=True)
class Moved:
    """Where the messages of a block come to be in another: in the order that they have, from
    `start` on, without those that are gone."""

    start: int
    places: Sequence[int]
    """For each of its positions the one in the other block; of what is gone, `GONE`."""
    kept: bytes | None = None
    """Unless all are kept, a byte for each: 1, or 0."""

    @classmethod
    def of(cls, start: int, kept: bytes) -> Moved:
        if all(kept):
            return cls(start, range(start, start + len(kept)))
        ranks = accumulate(kept, initial=start)
        return cls(start, [r if k else GONE for r, k in zip(ranks, kept, strict=False)], kept)


def encode(positions: Sequence[int], size: int) -> bytes:
    """Ascending positions below `size`, which is at most 65536, in a form shorter than a bitmap, if
    there is one."""
    whole = -(-size // 8)
    if len(positions) < whole:
        try:
            return GAPS + bytes((positions[0] + 1, *map(sub, positions[1:], positions)))
        except ValueError:  # a gap is no byte
            pass
    if 2 * len(positions) < whole:
        return PLACES + struct.pack(f"<{len(positions)}H", *positions)
    return BITMAP + _bitmap(positions, whole)


def dense(positions: int, size: int) -> bool:
    """Whether so many positions are kept as a bitmap."""
    return 8 * positions >= size


def any_of(postings: Iterable[bytes]) -> set[int]:
    """The positions that are in one of these at least."""
    found: set[int] = set()
    bits = 0
    for each in postings:
        if each[:1] == BITMAP:
            bits |= _bits(each)
        else:
            found.update(_positions(each))
    found.update(_ones(bits))
    return found


def all_of(postings: Iterable[bytes]) -> set[int]:
    """The positions that are in all of these."""
    maps: list[bytes] = []
    lists: list[bytes] = []
    for each in postings:
        (maps if each[:1] == BITMAP else lists).append(each)
    bits = reduce(and_, map(_bits, maps)) if maps else 0
    if not lists:
        return set(_ones(bits))
    shortest, *others = sorted(lists, key=len)
    found = set(_positions(shortest))
    for other in others:
        found = _met(found, other)
    if found and maps:
        flags = bits.to_bytes(len(maps[0]), "little")
        found = {place for place in found if flags[place >> 3] >> (place & 7) & 1}
    return found


def _met(found: set[int], other: bytes) -> set[int]:
    """Those of some positions that a list has too. A few are sought there one by one."""
    if len(found) * FEW > len(other):
        return found.intersection(_positions(other))
    places: Sequence[int] = _places(other) if other[:1] == PLACES else list(_positions(other))
    end = len(places)
    return {at for at in found if (i := bisect_left(places, at)) < end and places[i] == at}


def bits_of(postings: Iterable[bytes]) -> int:
    """The positions that are in one of these at least, each as a bit."""
    return reduce(or_, map(_bits, postings), 0)


def joined(parts: Sequence[tuple[Moved, bytes]], size: int) -> bytes | None:
    """The postings of a block that is made of others, from theirs; None if nothing is left of them.

    Whatever is in many messages is joined as bits: in few steps, however many.
    """
    whole = -(-size // 8)
    if 2 * sum(_count(body) for _, body in parts) < whole:
        places = [moved.places[at] for moved, body in parts for at in _in_order(body)]
        left = [place for place in places if place != GONE]
        return encode(left, size) if left else None
    bits = 0
    for moved, body in parts:
        bits |= _left(_bits(body), moved.kept) << moved.start
    if 2 * bits.bit_count() >= whole:
        return BITMAP + bits.to_bytes(whole, "little")
    return encode(_ones(bits), size) if bits else None


def _left(bits: int, kept: bytes | None) -> int:
    """The bits of what is kept, moved together."""
    if kept is None:
        return bits
    digits = compress(format(bits, f"0{len(kept)}b"), reversed(kept))  # the last position first
    return int("".join(digits) or "0", 2)


def _bits(encoded: bytes) -> int:
    if encoded[:1] == BITMAP:
        return int.from_bytes(encoded[1:], "little")
    positions = list(_positions(encoded))
    return int.from_bytes(_bitmap(positions, positions[-1] // 8 + 1), "little")


def _bitmap(positions: Iterable[int], length: int) -> bytes:
    bits = bytearray(length)
    for position in positions:
        bits[position >> 3] |= 1 << (position & 7)
    return bytes(bits)


def _count(encoded: bytes) -> int:
    if encoded[:1] == BITMAP:
        return int.from_bytes(encoded[1:], "little").bit_count()
    return len(encoded) - 1 if encoded[:1] == GAPS else len(encoded) // 2


def _in_order(encoded: bytes) -> Iterable[int]:
    return _ones(_bits(encoded)) if encoded[:1] == BITMAP else _positions(encoded)


def _positions(encoded: bytes) -> Iterable[int]:
    if encoded[:1] == GAPS:
        return accumulate(encoded[2:], initial=encoded[1] - 1)
    return _places(encoded)


def _places(encoded: bytes) -> array[int]:
    places = array("H", encoded[1:])
    if sys.byteorder == "big":
        places.byteswap()
    return places


def _ones(bits: int) -> list[int]:
    flags = format(bits, "b").encode().translate(_FLAGS)[::-1]  # a byte to each bit, lowest first
    return list(compress(range(len(flags)), flags))
