"""Of the messages that are looked at, those that contain what is looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from math import sqrt

from ...storage.persistence import Row
from .case import Wanted
from .reads import SIZES, Reads
from .span import Span
from .turn import Turn

FIRST, MOST = SIZES[1], SIZES[-1]
"""Candidates looked at while it is not known how good they are; and at once, at most."""
STEP = 16  # messages looked at before it is asked whether others should have their turn


class Sieve:
    """Keeps at most `most` messages. How well the index has told them so far says how many of its
    candidates to look at next: where most are wrong, it costs least to read many at once, and only
    their texts."""

    def __init__(self, reads: Reads, span: Span, wanted: Sequence[Wanted], most: int) -> None:
        self._reads = reads
        self._span = span
        self._first, *self._others = wanted
        self._most = most
        self._named = self._kept = 0  # candidates looked at, and those found among them
        self._turn = Turn()
        self.found: list[Row] = []

    @property
    def missing(self) -> int:
        return self._most - len(self.found)

    @property
    def is_coarse(self) -> bool:
        """Whether most candidates are not what is looked for."""
        return 2 * self._kept < self._named

    @property
    def next_size(self) -> int:
        """How many candidates are better looked at next: so many that what is missing is nearly
        surely among them, if they are as good as those so far."""
        size: float = self.missing
        if self._named:
            size = (size + 2 * sqrt(size)) * self._named / max(1, self._kept)
        return next((each for each in SIZES if max(size, FIRST) <= each), MOST)

    async def sift_candidates(self, rows: Sequence[Row], *, whole: bool) -> None:
        """The same of what the index names."""
        before = len(self.found)
        await self.sift(rows, whole=whole)
        self._named += len(rows)
        self._kept += len(self.found) - before

    async def sift(self, rows: Sequence[Row], *, whole: bool) -> None:
        """Keep what will do of these messages, which are in the order of the span: whole, or no
        more of each than its number and its text."""
        rest = iter(rows)
        while self.missing and (passing := await self._passing(rest)):
            if not whole:
                read = await self._reads.of(self._span, [row["id"] for row in passing])
                passing = [row for row in read if self._passes(row)]  # it may just have been edited
            self.found += passing

    async def _passing(self, rest: Iterator[Row]) -> list[Row]:
        """The next ones that will do, as many as are missing."""
        passing: list[Row] = []
        while missing := self.missing - len(passing):
            step = list(islice(rest, min(STEP, missing)))
            if not step:
                break
            passing += filter(self._passes, step)
            await self._turn.over()
        return passing

    def _passes(self, row: Row) -> bool:
        text: str | None = row["content"]
        return text is not None and self._first.is_in(text) and self._has_others(text)

    def _has_others(self, text: str) -> bool:
        return all(each.is_in(text) for each in self._others)
