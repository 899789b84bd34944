"""A block in the making: which grams are in which of its messages.

All is done in small steps, between which others may have their turn, and takes a bounded amount of
memory. So nothing here is one big dict, which grows at a stroke, or one big list to sort.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from heapq import merge

from .grams import grams_of, key_of
from .pages import Page, gram_pages, id_pages
from .postings import encode

PARTS = 256
HEAVY = 4_000_000  # some 110 MB if no gram comes twice
NEW = 6  # what a gram weighs at first; each message that it is in adds one


class Building:
    """Messages are added, oldest first; then come the pages, once."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.weight = 0
        # Positions of two bytes, not lists of them: these the garbage collector would go through.
        self._parts: list[dict[str, bytearray]] = [{} for _ in range(PARTS)]

    @property
    def is_full(self) -> bool:
        return self.weight >= HEAVY

    def add(self, id: int, text: str) -> Iterator[None]:
        """A message. It is in once all steps are taken."""
        position = len(self.ids).to_bytes(2, sys.byteorder)
        for grams in grams_of(text):
            for gram in grams:
                part = self._parts[hash(gram) % PARTS]
                positions = part.get(gram)
                if positions is None:
                    part[gram] = bytearray(position)
                    self.weight += NEW + 1
                elif positions[-2:] != position:
                    positions += position
                    self.weight += 1
            yield
        self.ids.append(id)

    def pages(self) -> Iterator[Page | None]:
        """The pages of the block; None is a step without one."""
        yield from id_pages(self.ids)
        orders: list[list[str]] = []
        for part in self._parts:
            orders.append(sorted(part))
            yield None
        yield from gram_pages(self._encoded(merge(*orders)))  # their keys have the same order
        while orders:
            orders.pop()
            yield None

    def _encoded(self, grams: Iterator[str]) -> Iterator[tuple[int, bytes]]:
        for gram in grams:
            positions = array("H", bytes(self._parts[hash(gram) % PARTS].pop(gram)))
            yield key_of(gram), encode(positions, len(self.ids))
