"""A session of any length is downloaded from a server whose memory does not grow with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from databases import ChosenDatabases

from mission_system.core.chat.service import ChatService
from mission_system.core.events.log import EventLog
from mission_system.core.identity import Caller
from mission_system.core.settings import Settings
from mission_system.core.storage.database import Database
from mission_system.core.storage.persistence import Transaction

from .conftest import SECONDS, Cli, Server

MANY = 200_000
MARK = b"~"  # once in each message, and nowhere else
TEXT = "~" + "something that was said, " * 8
BOUND = 16  # MiB; each of the files has more than 45

INSERT = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < CAST(? AS INT))
    INSERT INTO message (session_id, role, content, created_at)
    SELECT s.id, CASE i % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, CAST(? AS TEXT), i
    FROM session s, n WHERE s.public_id = CAST(? AS TEXT) ORDER BY i
"""


def memory_of(server: Server) -> float:
    """MiB that the process has for itself; pages of files do not count."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) / 1024


async def filled(database: Database) -> str:
    """The id of a new session with many messages, which the search index is to leave alone."""
    await database.open()
    try:
        chat = ChatService(database, EventLog(database, lambda *_: None))
        session = (await chat.create_session(Caller("ann"), title="Long")).session_id

        async def unit(tx: Transaction) -> None:
            await tx.execute(INSERT, (MANY, TEXT, session))
            await tx.execute("UPDATE session SET message_count = ?", (MANY,))
            await tx.execute(
                "INSERT INTO search_mark (id, message_id) SELECT 1, MAX(id) FROM message"
            )

        await database.write(unit)
    finally:
        await database.close()
    return session


@pytest.fixture(scope="module")
def long(module_cli: Cli, databases: ChosenDatabases) -> Iterator[tuple[Server, str]]:
    """A server, and a session there that has many messages."""
    session = asyncio.run(filled(databases.make(Settings(data=module_cli.data))))
    with module_cli.server() as server:
        yield server, session


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it like this")
@pytest.mark.parametrize(
    ("format", "end"), [("json", b"}]}"), ("txt", b"said, \n\n"), ("md", b"said, \n\n")]
)
def test_an_export_takes_no_more_memory_for_being_long(
    long: tuple[Server, str], format: str, end: bytes
) -> None:
    server, session = long
    url = f"{server.url}/api/v1/chat/sessions/{session}/export"
    size = messages = 0
    last = b""
    before = most = memory_of(server)
    query = {"user_id": "ann", "format": format}
    with httpx.stream("GET", url, params=query, timeout=SECONDS) as answer:
        assert answer.status_code == 200
        for number, piece in enumerate(answer.iter_raw(2**18)):
            size += len(piece)
            messages += piece.count(MARK)
            last = (last + piece)[-8:]
            if number % 8 == 0:
                most = max(most, memory_of(server))
    assert messages == MANY
    assert last.endswith(end)
    assert size > 2.5 * BOUND * 2**20
    assert most - before < BOUND
