"""Servers that start on one database: one serves, the others stand by and take its place."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import pytest
from postgresql import Databases
from postgresql import Server as Postgres

from mission_system.core.storage.postgres.locks import LEASE

from .conftest import Cli

if TYPE_CHECKING:
    from .conftest import Server

SECONDS = 90.0
SEND = """
mutation { sendMessage(input: {text: "hi", capability: "works", wait: false}) {
  ... on SendMessagePayload { process { pid } } } }
"""
PROCESS = "query ($id: ID!) { process(id: $id) { outcome reply } }"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def started(cli: Cli, running: ExitStack) -> Server:
    """A server at its address that begins to start, and is killed in the end."""
    port = free_port()
    server = cli.made("--port", str(port))
    server.url = f"http://127.0.0.1:{port}"
    server.spawn()
    running.callback(server.kill)
    return server


async def ask(server: Server, path: str) -> tuple[int, Any]:
    """(status, body); (0, None) of one that does not listen."""
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        try:
            answer = await client.get(f"{server.url}{path}")
        except httpx.ConnectError:
            return 0, None
    return answer.status_code, answer.json()


async def served_by(servers: list[Server]) -> tuple[Server, list[Server]]:
    """The one that is ready, once all the others stand by."""
    async with asyncio.timeout(SECONDS):
        while True:
            found = [(server, *await ask(server, "/ready")) for server in servers]
            ready = [server for server, status, _ in found if status == 200]
            waiting = [
                server
                for server, status, body in found
                if status == 503 and "standing by" in body.get("message", "")
            ]
            assert len(ready) < 2
            if len(ready) == 1 and len(waiting) == len(servers) - 1:
                return ready[0], waiting
            await asyncio.sleep(0.05)


@pytest.fixture
def url(postgres: Databases) -> Iterator[str]:
    url = postgres.empty()
    yield url
    postgres.drop(url)


@pytest.fixture
def clis(tmp_path: Path, url: str) -> list[Cli]:
    found = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.append(Cli(folder, {"MISSION_DATABASE_URL": url}))
    return found


async def test_four_servers_together_come_up_and_one_serves_until_it_dies(clis: list[Cli]) -> None:
    with ExitStack() as running:
        servers: list[Server] = []
        for cli in clis:
            servers.append(started(cli, running))
        first, others = await served_by(servers)
        for server in others:
            assert (await ask(server, "/health"))[0] == 200
            assert (await ask(server, "/api/v1/metrics"))[0] == 503
            assert server.events[-1] == "server.standing_by"
            assert f"mission {first.process.pid}@" in server.log.read_text()
        pid = (await first.execute(SEND))["sendMessage"]["process"]["pid"]
        for cli in clis:
            (cli.folder / "go").touch()
        first.kill()
        heir, rest = await served_by(others)
        async with asyncio.timeout(SECONDS):
            while (await heir.execute(PROCESS, id=pid))["process"]["outcome"] is None:
                await asyncio.sleep(0.05)
        ended = (await heir.execute(PROCESS, id=pid))["process"]
        assert ended == {"outcome": "COMPLETED", "reply": "works: hi"}
        assert rest[0].stop() == 0  # asked to stop while it stands by
        assert heir.stop() == 0


async def test_one_that_stands_by_outlives_a_restart_of_the_database(
    tmp_path: Path, own_server: Postgres
) -> None:
    with ExitStack() as running:
        servers = []
        for number in range(2):
            (tmp_path / str(number)).mkdir()
            cli = Cli(tmp_path / str(number), {"MISSION_DATABASE_URL": own_server.url})
            servers.append(started(cli, running))
        first, [heir] = await served_by(servers)
        own_server.restart()
        assert await served_by(servers) == (first, [heir])
        own_server.stop()
        await asyncio.sleep(1)  # it is away for longer than a look takes
        own_server.start()
        assert await served_by(servers) == (first, [heir])
        first.kill()
        assert await served_by([heir]) == (heir, [])


async def test_one_that_stands_by_gives_up_where_a_newer_version_was_before(
    clis: list[Cli], url: str
) -> None:
    with ExitStack() as running:
        first, [heir] = await served_by([started(cli, running) for cli in clis[:2]])
        newer = await asyncpg.connect(url)
        await newer.execute(
            "INSERT INTO tortoise_migrations (app, name, applied_at)"
            " SELECT app, '0002_later', applied_at FROM tortoise_migrations"
        )
        await newer.close()
        first.kill()
        assert await asyncio.to_thread(heir.process.wait, SECONDS) == 2
        assert "0002_later" in heir.log.read_text()


async def test_server_whose_database_was_taken_over_is_to_be_started_again(
    clis: list[Cli], url: str
) -> None:
    with ExitStack() as running:
        server = started(clis[0], running)
        await served_by([server])
        killer, thief = await asyncpg.connect(url), await asyncpg.connect(url)
        taking = asyncio.create_task(thief.execute(LEASE.wait))
        async with asyncio.timeout(SECONDS):
            while (await ask(server, "/health"))[0] == 200:
                for row in await killer.fetch(LEASE.holder):
                    if row["pid"] != thief.get_server_pid():
                        await killer.execute("SELECT pg_terminate_backend($1)", row["pid"])
                await asyncio.sleep(0.1)
        status, body = await ask(server, "/health")
        assert status == 500
        assert "lost its data" in body["message"]
        await taking
        await killer.close()
        await thief.close()


async def test_server_that_is_not_to_stand_by_says_who_serves(clis: list[Cli]) -> None:
    with clis[0].server() as first:
        refused = clis[1].run("serve", "--port", "0", MISSION_STANDBY="false")
        assert refused.returncode == 2
        assert f"mission {first.process.pid}@" in refused.stderr
        assert first.url in refused.stderr
        assert "Traceback" not in refused.stderr
