"""Operations that schemathesis makes of the schema, against a server in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import schemathesis
from databases import ChosenDatabases
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.graphql import nodes

from .conftest import Cli, Server, execute

SCHEMA = Path(__file__).parents[2] / "schema.graphql"
SEED = 20_261_127
CALLER = "fuzz"
KNOWN = {"INVALID_REQUEST", "INVALID_INPUT", "TOO_LARGE", "NOT_FOUND", "FORBIDDEN", "CONFLICT"}
KNOWN |= {"QUOTA_EXCEEDED", "BUSY", "UNAVAILABLE"}
REPLAYED = 400
"""Of the operations that were made, those that are sent again and again to see what memory does."""
REPLAYS = 8
LEAK_KIB = 1.0
"""For each request of the later replays, when all caches have filled. Less is how memory is cut up:
it is had from the system in pieces of a quarter of a MiB."""

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, databases: ChosenDatabases
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fuzz")
    cli = Cli(folder, databases.environment(folder / "data"))
    with cli.server() as server:
        yield server


def memory_of(server: Server) -> int:
    """KiB that the process has for itself; pages of files do not count."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1])


def register_scalars(ids: dict[str, str]) -> None:
    """Ids that there are among those that there are not, or most operations would find nothing."""
    some = st.sampled_from(list(ids.values())) | st.text(max_size=20)
    for name, values in {
        "Long": st.integers(-(2**63), 2**63 - 1).map(nodes.Int),
        "JSON": st.text(max_size=20).map(nodes.String),
        "DateTime": st.datetimes().map(lambda at: nodes.String(at.isoformat() + "Z")),
        "ID": some.map(nodes.String),
    }.items():
        schemathesis.graphql.scalar(name, values)


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


def check(client: httpx.Client, url: str, query: str) -> None:
    """No failure of the server, and no error but those that a client is meant to see."""
    headers = {"X-Mission-User": CALLER, "Accept": "application/graphql-response+json"}
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
    sent: list[str] = []
    with httpx.Client(timeout=60) as client:

        def send(query: str) -> None:
            sent.append(query)
            check(client, f"{server.url}/graphql", query)

        for operation in operations:
            await asyncio.to_thread(_fuzz, operation, send, 180 if nightly else 12)
        again = Random(SEED).sample(sent, min(len(sent), REPLAYED))
        memory: list[int] = []
        for _ in range(REPLAYS):
            for query in again:
                await asyncio.to_thread(send, query)
            memory.append(memory_of(server))
    half = REPLAYS // 2
    grown = (memory[-1] - memory[half - 1]) / (half * len(again))
    assert grown < LEAK_KIB, (grown, memory)
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
