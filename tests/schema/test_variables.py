"""Variables: nothing that arrives is unbounded, whatever the schema makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mission_system.schema.variables import VariableLimits, oversize

LIMITS = VariableLimits(text=10, items=5, values=20, depth=3)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=15),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=30,
)


def all_within(value: Any, limits: VariableLimits, depth: int = 0) -> tuple[bool, int]:
    """Whether each value is within its own limits, and how many there are."""
    if isinstance(value, str):
        return len(value) <= limits.text, 1
    if not isinstance(value, list | dict):
        return True, 1
    inner = value.values() if isinstance(value, dict) else value
    parts = [all_within(each, limits, depth + 1) for each in inner]
    fits = len(value) <= limits.items and depth <= limits.depth
    return fits and all(ok for ok, _ in parts), 1 + sum(count for _, count in parts)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=7))
def test_exactly_what_is_above_a_limit_is_refused(variables: dict[str, Any]) -> None:
    fits, count = all_within(variables, LIMITS)
    assert (oversize(variables, LIMITS) is None) == (fits and count <= LIMITS.values)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"a": {"b": ["x", "y" * 11]}}, "Variable '$a.b.1' has 11 characters; the most is 10."),
        ({"a": [1] * 6}, "Variable '$a' has 6 items; the most is 5."),
        ({"a": [[[[]]]]}, "Variable '$a.0.0.0' has 4 levels of nesting; the most is 3."),
        ({str(n): 1 for n in range(6)}, "The variables have 6 items; the most is 5."),
        ({str(n): [1] * 5 for n in range(4)}, "The variables have 25 values; the most is 20."),
    ],
)
def test_the_error_says_which_is_too_large_and_what_is_allowed(
    variables: dict[str, Any], message: str
) -> None:
    error = oversize(variables, LIMITS)
    assert error is not None
    assert error.message.startswith(message)
    assert error.extensions == {"code": "TOO_LARGE"}


def test_no_more_is_looked_at_than_the_limit_allows() -> None:
    """Work is bounded by the limits and not by what was sent."""

    class Endless(list[int]):
        def __iter__(self) -> Any:
            raise AssertionError("nobody should look into this")

    assert oversize({"a": Endless([1] * 6)}, LIMITS) is not None
