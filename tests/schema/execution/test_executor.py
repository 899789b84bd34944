"""The executor does what graphql-core's own does, whatever it is asked and whatever it meets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    ExecutionResult,
    Executor,
    GraphQLError,
    GraphQLField,
    get_variable_values,
    parse,
    print_ast,
)
from graphql.execution.values import get_argument_values
from hypothesis import given
from hypothesis import strategies as st
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from mission_system.schema.build import build_schema
from mission_system.schema.execution.executor import PlanExecutor
from mission_system.schema.execution.plan import Operation, Planner, operations

from .worlds import Author, World, answered_by

SCHEMA = build_schema()._schema
PLANNER = Planner(SCHEMA)
IS_AWAITABLE: Any = optimized_is_awaitable

# What an error cancels before it has begun: either executor leaves that behind.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


class Current:
    """The world that answers now."""

    world: World


@pytest.fixture(scope="module", autouse=True)
def made_up() -> Iterator[None]:
    yield from answered_by(SCHEMA, lambda: Current.world)


async def finished(executor: Executor[Any]) -> ExecutionResult:
    async with asyncio.timeout(20):
        result: Any = executor.execute_operation()
        if optimized_is_awaitable(result):
            result = await result
        while executor.background_futures:  # what goes on behind an error
            await asyncio.wait(list(executor.background_futures))
    assert isinstance(result, ExecutionResult)
    return result


def by_graphql_core(document: DocumentNode, variables: dict[str, Any], event: Any) -> Executor[Any]:
    executor = StrawberryGraphQLCoreExecutionContext.build(
        SCHEMA, document, event, None, variables, is_awaitable=IS_AWAITABLE
    )
    assert not isinstance(executor, list), executor
    return executor


def by_plan(planned: Operation, variables: dict[str, Any]) -> PlanExecutor:
    values = get_variable_values(SCHEMA, planned.node.variable_definitions or (), variables)
    assert not isinstance(values, list), values
    return PlanExecutor(SCHEMA, PLANNER, planned, values, None)


def has_stream(executor: Executor[Any], field: GraphQLField, selected: Any) -> bool:
    """Whether any event could come: the arguments are looked at before, once for all of them."""
    try:
        get_argument_values(field, selected, executor.variable_values)
    except GraphQLError:
        return False
    return True


def told(result: ExecutionResult) -> str:
    """All that a client can see, the order of fields and of errors included."""
    errors = [error.formatted for error in result.errors or ()]
    return re.sub("0x[0-9a-f]+", "0x", f"{result.data} {errors}")  # no two objects live at one


async def compare(kind: str, seed: int, random: Random, faults: float) -> None:
    root = {
        "query": SCHEMA.query_type,
        "mutation": SCHEMA.mutation_type,
        "subscription": SCHEMA.subscription_type,
    }[kind]
    assert root is not None
    author = Author(SCHEMA, random)
    document = parse(author.operation(kind, root))
    [planned] = operations(document)
    [selected, *_] = planned.node.selection_set.selections
    for turn in range(2):  # the second time the plans are there
        variables = author.variables()
        executor = by_plan(planned, variables)
        if kind != "subscription":
            Current.world = World(SCHEMA, seed + turn, faults)
            expected = await finished(by_graphql_core(document, variables, None))
            found = await finished(executor)
            assert told(found) == told(expected), (print_ast(document), variables)
            continue
        field = root.fields[selected.name.value]  # type: ignore[attr-defined]
        if not has_stream(by_graphql_core(document, variables, None), field, selected):
            continue
        for number in range(3):  # one executor serves all events
            world = Current.world = World(SCHEMA, 10 * seed + 3 * turn + number, faults)
            expected = await finished(by_graphql_core(document, variables, world.event(field)))
            running = executor.for_event(world.event(field))
            found = await finished(running)
            assert told(found) == told(expected), (print_ast(document), variables)
            if running.plain and not found.errors and not planned.conditional:
                # Then others who follow are given the same, whatever their variables are.
                Current.world = World(SCHEMA, seed - 1, faults)
                other = by_plan(planned, author.variables()).for_event(world.event(field))
                assert told(await finished(other)) == told(expected), print_ast(document)


@pytest.mark.parametrize("kind", ["query", "mutation", "subscription"])
@given(
    seed=st.integers(0, 10**6),
    random=st.randoms(use_true_random=False),
    faults=st.sampled_from((0.0, 0.02, 0.15)),
)
def test_results_are_those_of_graphql_core(
    kind: str, seed: int, random: Random, faults: float
) -> None:
    asyncio.run(compare(kind, seed, random, faults))
