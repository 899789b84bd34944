"""Limits: a document that asks for too much is refused before it costs anything."""

from __future__ import annotations

import time
from typing import Any

import pytest
from graphql import get_introspection_query, parse
from hypothesis import given
from hypothesis import strategies as st

from mission_system.schema.build import MissionSchema, build_schema
from mission_system.schema.limits import LENGTHS, WEIGHTS, Limits, Size, measure

from .conftest import Client

PATIENCE = 2.0
"""Seconds: generous, since what this guards against takes minutes."""


def size_of(schema: MissionSchema, query: str, **variables: object) -> Size:
    return measure(schema._schema, parse(query), variables or None)


def nested(levels: int) -> str:
    """Sessions' processes' sessions' processes ..."""
    return (
        "{ sessions { nodes {"
        + " processes { nodes { session {" * levels
        + " id "
        + "} } }" * (levels)
        + "} } }"
    )


def doubling(levels: int) -> str:
    """Fragments that each spread the next one twice: 2 to the power of `levels` selections."""
    fragments = [
        f"fragment F{n} on Session {{ processes {{ nodes {{ session {{ ...F{n + 1} }}"
        f" again: session {{ ...F{n + 1} }} }} }} }}"
        for n in range(levels)
    ]
    last = f"fragment F{levels} on Session {{ id }}"
    return "{ sessions { nodes { ...F0 } } }" + " ".join([*fragments, last])


def test_depth_aliases_and_fields_are_counted(schema: MissionSchema) -> None:
    size = size_of(
        schema, "{ viewer { userId a: role } b: viewer { ... { role } } health { status } }"
    )
    assert (size.depth, size.aliases, size.fields) == (2, 2, 7)


def test_fragments_count_wherever_they_are_spread(schema: MissionSchema) -> None:
    plain = size_of(schema, "{ a: viewer { userId role } b: viewer { userId role } }")
    spread = size_of(
        schema, "{ a: viewer { ...V } b: viewer { ...V } } fragment V on Viewer { userId role }"
    )
    assert spread == plain


@pytest.mark.parametrize(
    ("query", "cost"),
    [
        ("{ sessions(first: 10) { nodes { id } } }", 1 + 10 * 2),
        ("{ sessions { nodes { id } } }", 1 + 50 * 2),
        ("query($n: Int = 7) { sessions(first: $n) { nodes { id } } }", 1 + 7 * 2),
        ("{ interrupts(first: 3) { nodes { id kind } } }", 1 + 3 * 3),
        ("{ capabilities { name } }", 1 + 10),
        ("{ sessions(first: 2) { nodes { messages(first: 3) { nodes { id } } } } }", 17),
        ("{ sessions(first: 999999) { nodes { id } } }", 1 + 200 * 2),
        ("{ __schema { types { name } } }", 3),
    ],
)
def test_cost_is_selections_times_page_sizes(schema: MissionSchema, query: str, cost: int) -> None:
    assert size_of(schema, query, other=1).cost == cost


def test_a_variable_page_size_counts_once_it_is_known(schema: MissionSchema) -> None:
    query = "query($n: Int!) { sessions(first: $n) { nodes { id } } }"
    assert size_of(schema, query) == Size(3, 0, 3, 3, variable=True)
    assert size_of(schema, query, n=20).cost == 1 + 20 * 2
    for nonsense in ("many", 10**9, 3.5, [1]):
        assert size_of(schema, query, n=nonsense).cost == 1 + 200 * 2
    assert size_of(schema, query, n=None).cost == 1 + 50 * 2
    assert size_of(schema, query, n=-5).cost == 3


def test_a_page_size_counts_from_either_end(schema: MissionSchema) -> None:
    def cost(arguments: str, **variables: object) -> int:
        query = f"query($n: Int) {{ sessions{arguments} {{ nodes {{ id }} }} }}"
        return size_of(schema, query, **variables).cost

    assert cost("") == cost("(last: null)") == cost("(first: null, last: null)") == 1 + 50 * 2
    assert cost("(last: 7)") == cost("(first: null, last: 7)") == 1 + 7 * 2
    assert cost("(last: $n)", n=200) == cost("(first: 1, last: $n)", n=200) == 1 + 200 * 2
    assert cost("(first: 1, last: $n)", n=None) == 1 + 2


def test_each_operation_is_measured_with_its_own_variables(schema: MissionSchema) -> None:
    fragment = "fragment S on Query { sessions(first: $n) { nodes { id } } }"
    query = f"query A($n: Int = 2) {{ ...S }} query B($n: Int = 9) {{ ...S }} {fragment}"
    assert size_of(schema, query, other=1).cost == 1 + 9 * 2


@given(st.integers(0, 6), st.booleans())
def test_fragments_and_what_they_stand_for_have_one_size(levels: int, aliased: bool) -> None:
    schema = SCHEMA
    body, fragments = "id", "fragment F0 on Session { id }"
    for n in range(levels):
        name = "again: session" if aliased else "session"
        body = f"id processes(first: 2) {{ nodes {{ {name} {{ {body} }} }} }}"
        fragments += (
            f" fragment F{n + 1} on Session"
            f" {{ id processes(first: 2) {{ nodes {{ {name} {{ ...F{n} }} }} }} }}"
        )
    plain = size_of(schema, f"{{ session(id: 1) {{ {body} }} }}")
    assert size_of(schema, f"{{ session(id: 1) {{ ...F{levels} }} }} {fragments}") == plain


SCHEMA = build_schema()


@pytest.mark.parametrize(
    "query",
    [
        nested(10),
        doubling(24),
        "{ " + " ".join(f"a{n}: viewer {{ userId }}" for n in range(51)) + " }",
        "{ " + "viewer { userId } " * 300 + "}",
        "{ sessions(first: 200) { nodes { messages(first: 200) { nodes { id content } } } } }",
        "query Q { ...F } fragment F on Query { ...F }",
        "query Q { ...F } " + " ".join(
            f"fragment F{'' if n == 0 else n} on Query {{ ...F{n + 1} }}" for n in range(220)
        ) + "fragment F220 on Query { viewer { userId } }",
        "{ viewer { userId " + "@skip(if: false) " * 400 + "} }",
        "{" * 1900,
        "{ viewer(a: " + "[" * 900 + "]" * 900 + ") }",
        "{ a" + " ,a" * 3000 + " }",
        "#" * 70_000 + "\n{ viewer { userId } }",
        "{ __schema { types {" + " fields { type {" * 6 + " name " + "} }" * 6 + "} } }",
    ],
    ids=[
        "nested", "doubling", "aliases", "repeated", "pages", "cycle", "chain", "directives",
        "braces", "brackets", "tokens", "comment", "introspection",
    ],
)  # fmt: skip
async def test_a_document_that_asks_for_too_much_is_refused_at_once(
    client: Client, query: str
) -> None:
    began = time.perf_counter()
    data, errors = await client.execute(query)
    assert time.perf_counter() - began < PATIENCE
    assert data is None
    assert errors
    for error in errors:
        assert error["extensions"]["code"] in ("TOO_LARGE", "INVALID_REQUEST"), error


async def test_the_error_says_what_is_too_much_and_what_is_allowed(client: Client) -> None:
    _, [depth, cost] = await client.execute(nested(10))
    assert depth == {
        "message": "The operation has 33 levels of nesting; the most is 20. Ask for less at once.",
        "extensions": {"code": "TOO_LARGE"},
    }
    assert cost["message"].endswith("the most is 50000. Ask for less at once.")


async def test_a_page_size_in_a_variable_is_no_way_around(client: Client) -> None:
    query = (
        "query P($n: Int!) { sessions(first: $n) { nodes { messages(first: $n) {"
        " nodes { id content } } } } }"
    )
    await client.data(query, n=50)
    error = await client.error(query, n=200)
    assert error["extensions"] == {"code": "TOO_LARGE"}


@pytest.mark.parametrize(
    "number", ["9" * 5000, "-" + "9" * 20, "1." + "0" * 5000, "1e" + "9" * 5000]
)
@pytest.mark.parametrize(
    "query",
    [
        "{ sessions(first: %s) { nodes { id } } }",
        "query S($n: Int = %s) { sessions(first: $n) { nodes { id } } }",
        "{ session(id: %s) { id } }",
        'mutation { sendMessage(input: {text: "x", waitSeconds: %s}) { __typename } }',
        'subscription { sessionEvents(sessionId: "x", after: %s) { seq } }',
    ],
)
async def test_a_number_longer_than_any_that_is_meant_is_refused_where_it_stands(
    client: Client, query: str, number: str
) -> None:
    error = await client.error(query % number)
    assert error["message"].startswith(f"A number of {len(number)} characters")
    assert error["extensions"] == {"code": "INVALID_REQUEST"}
    assert error["locations"] == [{"line": 1, "column": query.index("%s") + 1}]


async def test_the_longest_64_bit_number_and_long_texts_are_no_long_numbers(client: Client) -> None:
    _, [error] = await client.execute(f"{{ session(id: {-(2**63)}) {{ id }} }}")
    assert error["extensions"] == {"code": "NOT_FOUND"}
    _, [error] = await client.execute(f'{{ session(id: "{"9" * 200}") {{ id }} }}')
    assert error["extensions"] == {"code": "NOT_FOUND"}


async def test_the_usual_introspection_is_allowed(client: Client) -> None:
    data = await client.data(
        get_introspection_query(input_value_deprecation=True, specified_by_url=True)
    )
    assert len(data["__schema"]["types"]) > 30


@pytest.mark.parametrize("options", [{"type_depth": 12, "one_of": True}, {"descriptions": False}])
async def test_every_form_of_the_usual_introspection_is_allowed(
    client: Client, options: dict[str, Any]
) -> None:
    assert (await client.data(get_introspection_query(**options)))["__schema"]


async def test_introspection_is_counted_as_it_turns_out(client: Client) -> None:
    """What tools ask for is allowed twice, so it has to be known how large it is."""

    def fields(value: Any) -> int:
        if isinstance(value, dict):
            return sum(1 + fields(each) for each in value.values())
        return sum(map(fields, value)) if isinstance(value, list) else 0

    query = get_introspection_query()
    found = fields(await client.data(query))
    assert found < size_of(client.schema, query).introspected < found * 1.5


async def test_introspection_that_is_wide_is_refused(client: Client) -> None:
    wide = " ".join(f"a{n}: fields {{ name type {{ name kind }} }}" for n in range(20))
    error = await client.error(f"{{ __schema {{ types {{ {wide} }} }} }}")
    assert error["extensions"] == {"code": "TOO_LARGE"}
    assert "fields of introspection in the response; the most is" in error["message"]
    fragment = f"fragment F on __Type {{ {wide} }}"
    error = await client.error(f"{{ __schema {{ types {{ ...F }} }} }} {fragment}")
    assert error["extensions"] == {"code": "TOO_LARGE"}
    await client.data(f'{{ __type(name: "Session") {{ ...F }} }} {fragment}')


@pytest.mark.parametrize(
    ("query", "cost"),
    [
        ("subscription { inbox { waiting { id } gone { id } } }", 1 + 2 * (1 + 200)),
        ("{ viewer { modelUsage { model calls } } }", 1 + 1 + 200 * 2),
        ('{ session(id: "s") { workingState { key value } } }', 1 + 1 + 200 * (1 + 50)),
        ("{ sessions(first: 2) { nodes { messages(first: 5) { nodes { id content } } } } }", 125),
    ],
)
def test_what_may_be_long_counts_as_such(schema: MissionSchema, query: str, cost: int) -> None:
    assert size_of(schema, query).cost == cost


@pytest.mark.parametrize(
    "query",
    [
        '{ session(id: "s") { messages(first: 200) { nodes { '
        + " ".join(f"a{n}: content" for n in range(49))
        + " } } } }",
        "{ sessions(first: 200) { nodes { workingState { value } } } }",
    ],
)
async def test_a_response_of_many_long_texts_is_refused(client: Client, query: str) -> None:
    assert (await client.error(query))["extensions"] == {"code": "TOO_LARGE"}


def test_what_is_known_to_be_long_is_there(schema: MissionSchema) -> None:
    for name in LENGTHS | WEIGHTS:
        type_, field = name.split(".")
        assert field in schema._schema.type_map[type_].fields, name  # type: ignore[attr-defined]


def test_a_few_files_fit_in_one_operation(schema: MissionSchema) -> None:
    """Each may have megabytes, and all of them are in memory together."""
    one = 'a@: exportSession(input: {sessionId: ""}) { ... on ExportSessionPayload { content } }'

    def cost(files: int) -> int:
        fields = " ".join(one.replace("@", str(number)) for number in range(files))
        return size_of(schema, f"mutation {{ {fields} }}").cost

    assert cost(4) < Limits().cost < cost(5)


async def test_what_no_operation_spreads_is_measured_too(
    client: Client, schema: MissionSchema
) -> None:
    """It is not run, but validation looks at each pair of its fields."""
    alone = "{ viewer { userId } } fragment F on Query { " + "viewer { userId role } " * 300 + "}"
    assert size_of(schema, alone).fields == 900
    error = await client.error(alone)
    assert error["extensions"] == {"code": "TOO_LARGE"}
    circular = "{ viewer { userId } } fragment F on Query { ...G } fragment G on Query { ...F }"
    assert size_of(schema, circular) == size_of(schema, "{ viewer { userId } }")


async def test_a_document_of_many_operations_is_refused(client: Client) -> None:
    many = " ".join(f"query Q{n} {{ viewer {{ userId }} }}" for n in range(51))
    error = await client.error(many)
    assert error["extensions"] == {"code": "TOO_LARGE"}
    assert "51 operations; the most is 50" in error["message"]


async def test_who_asks_is_told_what_an_operation_costs(client: Client) -> None:
    query = (
        "query A($n: Int = 7) { sessions(first: $n) { nodes { id } } } query B { a: viewer { role }"
        " }"
    )

    async def told(name: str, **variables: object) -> dict[str, object]:
        result = await client.schema.execute(
            query,
            operation_name=name,
            variable_values=variables,
            context_value=client.context,
            operation_extensions={"cost": True},
        )
        cost = (result.extensions or {})["cost"]
        limits = {"cost": 50_000, "depth": 20, "aliases": 50, "fields": 500}
        assert cost.pop("limits") == limits
        return dict(cost)

    assert await told("A") == {"cost": 15, "depth": 3, "aliases": 0, "fields": 3}
    assert await told("A", n=100) == {"cost": 201, "depth": 3, "aliases": 0, "fields": 3}
    assert await told("B") == {"cost": 2, "depth": 2, "aliases": 1, "fields": 2}
    for extensions in (None, {}, {"cost": False}, {"cost": 1}):
        result = await client.schema.execute(
            "{ viewer { role } }", context_value=client.context, operation_extensions=extensions
        )
        assert not result.extensions


async def test_what_costs_too_much_is_told_what_it_costs(client: Client) -> None:
    result = await client.schema.execute(
        nested(10), context_value=client.context, operation_extensions={"cost": True}
    )
    assert result.errors
    assert (result.extensions or {})["cost"]["depth"] == 33


async def test_limits_can_be_set(client: Client) -> None:
    client.schema = build_schema(limits=Limits(depth=1))
    error = await client.error("{ viewer { userId } }")
    assert error["extensions"] == {"code": "TOO_LARGE"}
