from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel

from mission_system.core.errors import InvalidInput
from mission_system.core.tools.arguments import MAX_PROBLEM_TEXT, Arguments


def _refuse(value: str) -> str:
    raise ValueError(f"I do not like {value}")


class Place(BaseModel):
    city: str


def visit(place: Place, days: int = 1, tags: list[str] = [], *, note: str = "") -> None: ...  # noqa: B006


def picky(word: Annotated[str, AfterValidator(_refuse)]) -> None: ...


def test_arguments_are_converted_and_defaults_filled_in() -> None:
    parsed = Arguments(visit).parse({"place": {"city": "Oslo"}, "days": "3"})
    assert parsed == {"place": Place(city="Oslo"), "days": 3, "tags": [], "note": ""}


def test_a_mutable_default_is_not_shared_between_calls() -> None:
    arguments = Arguments(visit)
    arguments.parse({"place": {"city": "Oslo"}})["tags"].append("kept")
    assert arguments.parse({"place": {"city": "Oslo"}})["tags"] == []


@pytest.mark.parametrize(
    ("given", "field", "text"),
    [
        ({}, "place", "place: is required"),
        ({"place": {"city": 1}}, "place.city", "place.city: Input should be a valid string"),
        (
            {"place": {"city": "a"}, "other": 1},
            "other",
            "other: is not an argument of this tool",
        ),
        (
            {"place": {}, "days": "x"},
            "place.city",
            "place.city: Field required; days: Input should be a valid integer, unable to parse "
            "string as an integer",
        ),
    ],
)
def test_a_refusal_names_the_field_in_the_callers_terms(
    given: dict[str, Any], field: str, text: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        Arguments(visit).parse(given)
    assert caught.value.field == field
    assert caught.value.message == text


@given(name=st.text(min_size=1, max_size=5000), value=st.text(max_size=5000))
def test_a_refusal_is_bounded_whatever_the_input(name: str, value: str) -> None:
    for arguments, bad in (
        (Arguments(visit), {name: value, f"{name}2": value}),
        (Arguments(picky), {"word": value}),
    ):
        with pytest.raises(InvalidInput) as caught:
            arguments.parse(bad)
        assert len(caught.value.message) <= MAX_PROBLEM_TEXT


def test_extra_names_reach_a_function_that_takes_them() -> None:
    def proxy(path: str, **rest: int) -> None: ...

    assert Arguments(proxy).parse({"path": "a", "b": "2"}) == {"path": "a", "b": 2}
