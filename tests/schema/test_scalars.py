"""Long: 64 bits, as a number or as text; and what is said of values that a scalar refuses."""

from __future__ import annotations

import pytest
import strawberry
from hypothesis import given
from hypothesis import strategies as st
from strawberry.schema.config import StrawberryConfig

from mission_system.schema.scalars import SCALARS, Long

from .conftest import Client
from .test_extension import extending, loaded


@strawberry.type
class Query:
    @strawberry.field
    def same(self, value: Long) -> Long:
        return value


@strawberry.type
class SessionFields:
    @strawberry.field
    def same(self, values: list[Long]) -> list[Long]:
        return values


SCHEMA = strawberry.Schema(Query, config=StrawberryConfig(scalar_map=SCALARS))
QUERY = "query Q($value: Long!) { same(value: $value) }"


@given(st.integers(-(2**63), 2**63 - 1), st.booleans())
def test_any_64_bit_integer_comes_back(number: int, as_text: bool) -> None:
    result = SCHEMA.execute_sync(QUERY, {"value": str(number) if as_text else number})
    assert result.data == {"same": number}
    literal = SCHEMA.execute_sync(f"{{ same(value: {number}) }}")
    assert literal.data == {"same": number}


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, 1.5, "1.5", "", "many", True, [], "9" * 5000, "1_0", " 1", "١"]
)
def test_anything_else_is_refused(value: object) -> None:
    result = SCHEMA.execute_sync(QUERY, {"value": value})
    assert result.data is None
    assert result.errors is not None
    assert "Long cannot represent" in result.errors[0].message


@pytest.mark.parametrize(
    "query",
    [
        'mutation { archiveSession(input: {sessionId: "x", archivedAt: "soon"}) { __typename } }',
        'mutation ($at: DateTime = "soon") { archiveSession(input: {sessionId: "x", archivedAt: $at'
        "}) { __typename } }",
        '{ session(id: "x") { same(values: [1, "soon"]) } }',
    ],
)
async def test_a_value_that_is_refused_is_pointed_at(client: Client, query: str) -> None:
    client.schema, _ = loaded(extending({"Session": SessionFields}))
    error = await client.error(query)
    assert "soon" in error["message"]
    assert error["locations"] == [{"line": 1, "column": query.index('"soon"') + 1}]
    assert error["extensions"] == {"code": "INVALID_REQUEST"}
