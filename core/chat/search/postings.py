"""Which messages of a block a gram is in: sets of positions as bytes, small and quickly met."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import sub

GAPS, PLACES, BITMAP = b"g", b"p", b"b"


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
    bits = bytearray(whole)
    for position in positions:
        bits[position >> 3] |= 1 << (position & 7)
    return BITMAP + bits


def any_of(postings: Iterable[bytes]) -> set[int]:
    """The positions that are in one of these at least."""
    found: set[int] = set()
    for each in postings:
        if each[:1] == BITMAP:
            found.update(_ones(int.from_bytes(each[1:], "little")))
        else:
            found.update(_positions(each))
    return found


def all_of(postings: Iterable[bytes]) -> set[int]:
    """The positions that are in all of these."""
    shortest, *others = sorted(postings, key=len)
    if shortest[:1] == BITMAP:  # then all are: what is none is shorter
        bits = int.from_bytes(shortest[1:], "little")
        for other in others:
            bits &= int.from_bytes(other[1:], "little")
        return set(_ones(bits))
    found = set(_positions(shortest))
    for other in others:
        found = met(found, other)
    return found


def met(found: set[int], other: bytes) -> set[int]:
    """Those of some positions that are there too."""
    if other[:1] == BITMAP:
        return {place for place in found if other[1 + (place >> 3)] >> (place & 7) & 1}
    return found.intersection(_positions(other))


def _positions(encoded: bytes) -> Iterable[int]:
    body = encoded[1:]
    if encoded[:1] == GAPS:
        return accumulate(body[1:], initial=body[0] - 1)
    places: tuple[int, ...] = struct.unpack(f"<{len(body) // 2}H", body)
    return places


def _ones(bits: int) -> list[int]:
    found: list[int] = []
    for at, byte in enumerate(bits.to_bytes(-(-bits.bit_length() // 8), "little")):
        if byte:
            found.extend(at * 8 + bit for bit in range(8) if byte >> bit & 1)
    return found
