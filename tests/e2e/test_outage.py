"""The database is away for a while under a server that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
from postgresql import Server as Postgres

if TYPE_CHECKING:
    from .conftest import Cli, Server

SECONDS = 90.0
SEND = """
mutation ($text: String!, $capability: String, $wait: Boolean) {
  sendMessage(input: {text: $text, capability: $capability, wait: $wait}) {
    ... on SendMessagePayload { process { pid state outcome reply } }
    ... on Error { code message } } }
"""
PROCESS = "query ($id: ID!) { process(id: $id) { outcome reply } }"


async def until(probe: Callable[[], Any], expected: object) -> None:
    async with asyncio.timeout(SECONDS):
        while (found := await probe()) != expected:
            await asyncio.sleep(0.05)
            assert found is not None


async def status(server: Server, path: str) -> int:
    async with httpx.AsyncClient(timeout=SECONDS, verify=False) as client:
        return (await client.get(f"{server.url}{path}")).status_code


async def codes(server: Server, query: str, **variables: Any) -> list[str]:
    """The codes of the errors that a query or mutation is answered with."""
    async with httpx.AsyncClient(timeout=SECONDS, verify=False) as client:
        body = {"query": query, "variables": variables}
        headers = {"X-Mission-User": "ann"}
        answer = await client.post(f"{server.url}/graphql", json=body, headers=headers)
    return [error["extensions"]["code"] for error in answer.json().get("errors", [])]


async def test_server_outlives_its_databases_outage_and_its_processes_go_on(
    cli: Cli, own_server: Postgres
) -> None:
    cli.database = {"MISSION_DATABASE_URL": own_server.url}
    with cli.server() as server:
        pids = {}
        for capability in ("looks", "works"):
            sent = await server.execute(SEND, text="hi", capability=capability, wait=False)
            pids[capability] = sent["sendMessage"]["process"]["pid"]
        await until(lambda: status(server, "/ready"), 200)

        own_server.stop()
        await until(lambda: status(server, "/ready"), 503)
        assert await status(server, "/health") == 200
        assert await codes(server, SEND, text="hello") == ["UNAVAILABLE"]
        assert await codes(server, PROCESS, id=pids["looks"]) == ["UNAVAILABLE"]
        assert await codes(server, "{ sessions { nodes { sessionId } } }") == ["UNAVAILABLE"]
        assert await status(server, "/ready") == 503
        assert await status(server, "/health") == 200

        own_server.start()
        await until(lambda: status(server, "/ready"), 200)
        hello = await server.execute(SEND, text="hello", capability="write", wait=True)
        assert hello["sendMessage"]["process"]["outcome"] == "COMPLETED"
        (cli.folder / "go").touch()
        for capability, pid in pids.items():
            ended = {"outcome": "COMPLETED", "reply": f"{capability}: hi"}
            await until(lambda pid=pid: process(server, pid), ended)
        assert server.process.poll() is None


async def process(server: Server, pid: str) -> Any:
    return (await server.execute(PROCESS, id=pid))["process"]
