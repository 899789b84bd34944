"""Operations that schemathesis makes of the schema, against a server in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import schemathesis
from databases import ChosenDatabases
from graphql import FloatValueNode, NameNode, ObjectFieldNode
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.graphql import nodes

from .conftest import Cli, Server, execute

SCHEMA = Path(__file__).parents[2] / "schema.graphql"
SEED = 20_261_127
CALLER = "fuzz"
ADMIN = "local"
ADMINS = 4
"""One in so many operations comes from an administrator, who may more."""
KNOWN = {"INVALID_REQUEST", "INVALID_INPUT", "TOO_LARGE", "NOT_FOUND", "FORBIDDEN", "CONFLICT"}
KNOWN |= {"QUOTA_EXCEEDED", "BUSY", "UNAVAILABLE"}
REPLAYED = 200
"""Of the operations that were made, those that are sent again and again to see what memory does."""
REPLAYS = 6
LEAK = 200
"""Bytes for each request. A server that leaks loses them in all of the replays; what is bounded,
such as a cache that fills, grows in some of them."""

MEMORY = """
import gc
import tracemalloc

import strawberry

from mission_system import hookimpl


@strawberry.type
class Queries:
    @strawberry.field
    def alive(self) -> int:
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]


@hookimpl
def register_graphql(context):
    return {"Query": Queries}
"""
"""A plugin that tells how many bytes are alive of what came since it was first asked. What the
system says is too coarse: what is lost fills for long what the server has had before."""

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, databases: ChosenDatabases
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fuzz")
    cli = Cli(folder, databases.environment(folder / "data"))
    cli.install("memory", MEMORY)
    with cli.server() as server:
        yield server


def register_scalars(ids: dict[str, str]) -> None:
    """Ids that there are among those that there are not, or most operations would find nothing."""
    some = st.sampled_from(list(ids.values())) | st.text(max_size=20)
    for name, values in {
        "Long": st.integers(-(2**63), 2**63 - 1).map(nodes.Int),
        "JSON": json_values(),
        "DateTime": st.datetimes().map(lambda at: nodes.String(at.isoformat() + "Z")),
        "ID": some.map(nodes.String),
    }.items():
        schemathesis.graphql.scalar(name, values)


def json_values() -> st.SearchStrategy[Any]:
    """All of JSON, and numbers that GraphQL knows and JSON does not."""
    plain = (
        st.none().map(lambda _: nodes.Null)
        | st.booleans().map(nodes.Boolean)
        | st.integers(-(10**19), 10**19).map(nodes.Int)
        | st.floats(allow_nan=False, allow_infinity=False).map(nodes.Float)
        | st.sampled_from(["1e400", "-1e400"]).map(lambda text: FloatValueNode(value=text))
        | st.text(max_size=20).map(nodes.String)
    )
    names = st.from_regex(
        r"[A-Za-z_]\w{0,9}", fullmatch=True, alphabet=st.characters(codec="ascii")
    )
    return st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=3).map(nodes.List)
            | st.dictionaries(names, inner, max_size=3).map(_object)
        ),
        max_leaves=6,
    )


def _object(fields: dict[str, Any]) -> Any:
    return nodes.Object(
        [ObjectFieldNode(name=NameNode(value=key), value=value) for key, value in fields.items()]
    )


async def existing(server: Server) -> dict[str, str]:
    """A session, its process, a question and a message of the caller's."""
    query = """mutation($capability: String!) {
      sendMessage(input: {text: "hello", capability: $capability}) { ... on SendMessagePayload {
        process { id sessionId interrupts { id } } userMessage { id } } } }"""
    sent = (await execute(server.url, query, CALLER, capability="guess"))["sendMessage"]
    process = sent["process"]
    return {
        "session": process["sessionId"],
        "process": process["id"],
        "interrupt": process["interrupts"][0]["id"],
        "message": sent["userMessage"]["id"],
    }


def check(client: httpx.Client, url: str, query: str, caller: str) -> None:
    """No failure of the server, and no error but those that a client is meant to see."""
    headers = {"X-Mission-User": caller, "Accept": "application/graphql-response+json"}
    if query.lstrip().startswith("subscription"):
        # Enough of it to see whether it begins; the client leaves in the middle.
        headers["Accept"] = "text/event-stream"
        with client.stream("POST", url, json={"query": query}, headers=headers) as response:
            assert response.status_code == 200, query
            first = next((line for line in response.iter_lines() if line), "")
            assert "INTERNAL" not in first, query
        return
    response = client.post(url, json={"query": query}, headers=headers)
    assert response.status_code in (200, 400), (response.status_code, query)
    for error in response.json().get("errors", ()):
        assert error["extensions"]["code"] in KNOWN, (error, query)
        assert "Traceback" not in error["message"]


async def test_no_operation_makes_the_server_fail_and_its_memory_stays_flat(
    server: Server, nightly: bool
) -> None:
    ids = await existing(server)
    register_scalars(ids)
    schema = schemathesis.graphql.from_path(SCHEMA)
    found: Any = schema.get_all_operations()
    operations = [result.ok() for result in found]
    assert len(operations) > 30
    sent: list[tuple[str, str]] = []
    with httpx.Client(timeout=60) as client:

        def send(query: str) -> None:
            again(query, CALLER if len(sent) % ADMINS else ADMIN)

        def again(query: str, caller: str) -> None:
            sent.append((query, caller))
            check(client, f"{server.url}/graphql", query, caller)

        for operation in operations:
            await asyncio.to_thread(_fuzz, operation, send, 180 if nightly else 12)
        chosen = Random(SEED).sample(sent, min(len(sent), REPLAYED))
        memory: list[int] = []
        for _ in range(REPLAYS):
            for query, caller in chosen:
                await asyncio.to_thread(again, query, caller)
            memory.append((await server.execute("{ alive }"))["alive"])
    grown = min(b - a for a, b in pairwise(memory)) / len(chosen)
    assert grown < LEAK, (grown, memory)
    assert "graphql.internal_error" not in server.events
    # It still does what it is for.
    assert (await server.execute("{ viewer { userId } }"))["viewer"] == {"userId": "ann"}


def _fuzz(operation: Any, send: Callable[[str], None], examples: int) -> None:
    @seed(SEED)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(case=operation.as_strategy())
    def run(case: Any) -> None:
        send(case.body)

    run()
