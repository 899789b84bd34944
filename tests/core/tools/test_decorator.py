from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal, assert_type

import pytest
from pydantic import BaseModel, Field

from mission_system.core.tools.decorator import tool
from mission_system.core.tools.spec import ToolSpec


class Place(BaseModel):
    city: str


def test_bare_decorator_takes_everything_from_the_function() -> None:
    @tool
    async def search_docs(query: str, limit: int = 5) -> list[str]:
        """Find passages
        that answer a question.

        Not part of the description.
        """
        return [query] * limit

    assert_type(search_docs, ToolSpec)
    assert search_docs.name == "search_docs"
    assert search_docs.description == "Find passages that answer a question."
    assert search_docs.return_type == list[str]
    assert (search_docs.risk, search_docs.timeout, search_docs.idempotent) == (
        "read_only",
        30.0,
        False,
    )


def test_decorator_with_options_overrides_the_function() -> None:
    @tool(name="erase", description="Erase it.", risk="destructive", timeout=2, idempotent=True)
    def remove(path: str) -> None:
        return None

    assert_type(remove, ToolSpec)
    assert remove.name == "erase"
    assert remove.description == "Erase it."
    assert remove.return_type is None
    assert (remove.risk, remove.timeout, remove.idempotent) == ("destructive", 2, True)


def test_parameters_are_the_json_schema_of_the_signature() -> None:
    @tool
    def book(
        place: Place,
        kind: Literal["hotel", "flight"],
        nights: Annotated[int, Field(description="How many nights.", ge=1)] = 1,
        *,
        notes: list[str] | None = None,
    ) -> str:
        """Book something."""
        return ""

    schema = book.parameters
    assert schema["type"] == "object"
    assert schema["required"] == ["place", "kind"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["kind"]["enum"] == ["hotel", "flight"]
    assert schema["properties"]["nights"]["description"] == "How many nights."
    assert schema["properties"]["nights"]["minimum"] == 1
    assert schema["properties"]["notes"]["default"] is None
    assert schema["$defs"]["Place"]["required"] == ["city"]


def test_argument_names_that_a_model_would_reserve_are_fine() -> None:
    @tool
    def load(schema: str, json: bool, model_config: int, _hidden: str) -> str:
        """Load."""
        return ""

    assert list(load.parameters["properties"]) == ["schema", "json", "model_config", "_hidden"]


def test_calling_a_spec_calls_the_plain_function() -> None:
    @tool
    def double(number: int) -> int:
        """Double it."""
        return number * 2

    assert double(4) == 8
    assert double(number=5) == 10


def test_a_wrapped_function_keeps_the_signature_of_the_inner_one() -> None:
    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @tool
    @traced
    def find(query: str) -> str:
        """Find."""
        return query

    assert list(find.parameters["properties"]) == ["query"]


def test_missing_docstring_is_refused_and_named() -> None:
    def silent(query: str) -> str:
        return query

    with pytest.raises(ValueError, match=r"silent has no docstring.*description="):
        tool(silent)


def args_tool(*queries: str) -> str:
    """Doc."""
    return ""


def kwargs_tool(**options: str) -> str:
    """Doc."""
    return ""


def positional_tool(query: str, /) -> str:
    """Doc."""
    return ""


def untyped_tool(query) -> str:  # type: ignore[no-untyped-def]
    """Doc."""
    return ""


async def yielding_tool(query: str) -> AsyncIterator[str]:
    """Doc."""
    yield query


class Opaque:
    pass


def opaque_tool(thing: Opaque) -> str:
    """Doc."""
    return ""


def callback_tool(callback: Callable[[], None]) -> str:
    """Doc."""
    return ""


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        (args_tool, r"'\*queries'.*take a list"),
        (kwargs_tool, r"'\*\*options'.*name each one"),
        (positional_tool, r"'query' is positional-only.*remove the '/'"),
        (untyped_tool, r"'query' has no type; annotate it"),
        (yielding_tool, r"return a list instead of yielding"),
        (opaque_tool, r"cannot be validated.*Opaque"),
        (callback_tool, r"cannot be written as JSON Schema"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_with_its_name_and_advice(
    function: Callable[..., Any], advice: str
) -> None:
    with pytest.raises(TypeError, match=advice) as caught:
        tool(function)
    assert f"{__name__}.{function.__name__}" in str(caught.value)


def test_an_annotation_that_cannot_be_resolved_is_refused_with_advice() -> None:
    def lost(place: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore
        """Doc."""
        return ""

    with pytest.raises(TypeError, match=r"lost.*Nowhere.*outside `if TYPE_CHECKING`"):
        tool(lost)


def test_a_name_quoted_inside_an_annotation_is_resolved_or_refused() -> None:
    def near(places: list["Place"]) -> str:  # noqa: UP037
        """Doc."""
        return ""

    def lost(places: list["Nowhere"]) -> str:  # type: ignore[name-defined]  # noqa: F821, UP037  # pyright: ignore
        """Doc."""
        return ""

    assert "Place" in tool(near).parameters["$defs"]
    with pytest.raises(TypeError, match=r"lost.*Nowhere"):
        tool(lost)


@pytest.mark.parametrize("name", ["", "Search", "1st", "a-b", "a b", "a\n", "é", "a" * 65])
def test_names_outside_the_pattern_are_refused(name: str) -> None:
    def search(query: str) -> str:
        """Doc."""
        return query

    with pytest.raises(ValueError, match="give another one with name="):
        tool(name=name)(search)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_timeout_that_is_not_a_positive_time_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="number of seconds above 0"):
        tool(timeout=timeout)(positional_free)


def test_an_unknown_risk_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="read_only, write, destructive"):
        tool(risk="harmless")(positional_free)  # type: ignore[call-overload]  # pyright: ignore


def positional_free(query: str) -> str:
    """Doc."""
    return query


def test_what_is_not_a_function_is_refused() -> None:
    with pytest.raises(TypeError, match="expects a function, not int"):
        tool(3)  # type: ignore[call-overload]  # pyright: ignore
    with pytest.raises(TypeError, match="expects a function, not ToolSpec"):
        tool(tool(positional_free))


def test_a_callable_without_a_name_needs_one() -> None:
    partial = functools.partial(positional_free)
    with pytest.raises(TypeError, match="give one with name="):
        tool(description="Doc.")(partial)
    assert tool(name="search", description="Doc.")(partial).name == "search"
