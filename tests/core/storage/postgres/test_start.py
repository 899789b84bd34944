"""Servers that start together, each a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import asyncpg
from postgresql import Databases, run

MIGRATE = """
import asyncio, sys
from mission_system.core.storage.postgres.migrate import migrate
asyncio.run(migrate(sys.argv[1]))
"""
SERVE = """
import asyncio, pathlib, sys
from mission_system.core.errors import MissionError
from mission_system.core.storage.postgres.database import PostgresDatabase

async def main():
    database = PostgresDatabase(sys.argv[1], pathlib.Path(sys.argv[2]))
    try:
        await database.open()
    except MissionError as error:
        print(error.code, error.message, flush=True)
        return
    print("serves", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await database.close()

asyncio.run(main())
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def applied(url: str) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT app, name FROM tortoise_migrations ORDER BY 1, 2")
        return [(row["app"], row["name"]) for row in rows]
    finally:
        await connection.close()


def test_four_servers_together_migrate_an_empty_database_once(postgres: Databases) -> None:
    url = postgres.empty()
    servers = [start(MIGRATE, url) for _ in range(4)]
    said = [server.communicate(timeout=100)[0] for server in servers]
    assert [server.returncode for server in servers] == [0] * 4, said
    assert run(lambda: applied(url)) == [("core", "0001_initial")]
    postgres.drop(url)


def test_of_four_servers_on_one_database_one_serves_and_the_others_say_which(
    postgres: Databases, tmp_path: Path
) -> None:
    url = postgres.empty()
    servers = [start(SERVE, url, str(tmp_path / str(number))) for number in range(4)]
    first = [server.stdout.readline() for server in servers if server.stdout]
    serving = [server for server, line in zip(servers, first, strict=True) if line == "serves\n"]
    assert len(serving) == 1, first
    refused = [line for line in first if line != "serves\n"]
    assert all("LEASE_HELD" in line and f"mission {serving[0].pid}@" in line for line in refused)
    for server in servers:
        server.communicate("\n", timeout=100)
    assert serving[0].returncode == 0
    after = start(SERVE, url, str(tmp_path / "0"))
    assert after.stdout is not None
    assert after.stdout.readline() == "serves\n"
    after.kill()  # as a crash would: the lease goes with the process
    after.wait()
    heir = start(SERVE, url, str(tmp_path / "0"))
    assert heir.communicate("\n", timeout=100)[0] == "serves\n"
    postgres.drop(url)
