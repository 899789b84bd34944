"""How long things take, counted where they happen: an observation is a bisection and two sums."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Seconds: how many took so long or less is known exactly for these."""


class Histogram:
    """Counts by `bounds`, ascending; the last count is of what is beyond all of them."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """(bound, how many are at most that), the last for `+Inf`."""
        found: list[tuple[str, int]] = []
        sum_ = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            sum_ += count
            found.append((str(bound), sum_))
        return found


class Timings:
    """Of one server since its start, in seconds."""

    def __init__(self) -> None:
        self.turns = Histogram()
        """From the submission of a request to its end."""
        self.waits = Histogram()
        """From there to the start of its first run."""
        self.steps: defaultdict[str, Histogram] = defaultdict(Histogram)
        """Of the work of a step, by its kind."""

    def began(self, created_at: datetime, started_at: datetime | None) -> None:
        if started_at is not None:
            self.waits.observe(max(0.0, (started_at - created_at).total_seconds()))

    def ended(self, created_at: datetime, completed_at: datetime | None) -> None:
        if completed_at is not None:
            self.turns.observe(max(0.0, (completed_at - created_at).total_seconds()))
