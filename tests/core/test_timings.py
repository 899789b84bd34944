"""Histograms hold what a naive count of the same values finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mission_system.core.timings import BOUNDS, Histogram


@given(st.lists(st.one_of(st.floats(0, 1000), st.sampled_from(BOUNDS))))
def test_buckets_count_what_is_at_most_their_bound(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    naive = [(str(bound), sum(value <= bound for value in values)) for bound in BOUNDS]
    assert histogram.cumulative() == [*naive, ("+Inf", len(values))]
    assert abs(histogram.total - sum(values)) < 1e-6
