"""Long sessions are downloaded from a started server by clients that leave, or read slowly."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing

import httpx
import pytest
from databases import CHOSEN, ChosenDatabases
from generators import is_closed

from mission_system.core.chat.records import Message, Session
from mission_system.core.chat.search.indexer import Indexer
from mission_system.core.chat.service import ChatService
from mission_system.core.identity import Caller

from .conftest import Api, B, client_of
from .served import SECONDS, Served, served
from .test_concurrency import until

MANY = 30_000
MARK = b"~"  # once in each message, and nowhere else
TEXT = "~" + "something that was said, " * 40  # more in all than sockets hold


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, databases: ChosenDatabases
) -> Iterator[Served]:
    """One that leaves the search index alone: nobody searches here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Indexer, "start", lambda _: None)
        with served(tmp_path_factory.mktemp("exports")) as server:
            yield server


@pytest.fixture(scope="module")
def http(server: Served) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="module")
def long(server: Served, http: httpx.Client) -> Api:
    """Whose only session has many messages."""
    api = Api(server, http, "chatty")
    fill(api)
    return api


def fill(api: Api) -> str:
    """A new session with many messages."""
    session = api.session("Long")
    api.server.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < CAST(? AS INT))"
        " INSERT INTO message (session_id, role, content, created_at)"
        " SELECT s.id, CASE i % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,"
        " CAST(? AS TEXT) || i, s.created_at + i"
        " FROM session s, n WHERE s.public_id = CAST(? AS TEXT) ORDER BY i",
        MANY,
        TEXT,
        session,
    )
    api.server.execute("UPDATE session SET message_count = ? WHERE public_id = ?", MANY, session)
    return session


class Dawdler:
    """Asks for an export, and reads it piece by piece."""

    def __init__(self, api: Api, session: str) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(SECONDS)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        self.socket.connect(api.server.address)
        path = f"{B}/sessions/{session}/export?user_id={api.user}"
        host, port = api.server.address
        head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        self.socket.sendall(head.encode())
        self.begun = self.socket.recv(2**16)
        assert self.begun.startswith(b"HTTP/1.1 200")

    def rest(self) -> bytes:
        return b"".join(iter(lambda: self.socket.recv(2**20), b""))


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> list[AsyncGenerator[Message, None]]:
    """What exports read their messages from; kept, so that no collection of garbage closes it."""
    read = ChatService._messages_of
    kept: list[AsyncGenerator[Message, None]] = []

    def keeping(
        self: ChatService, caller: Caller, session: Session
    ) -> AsyncGenerator[Message, None]:
        kept.append(read(self, caller, session))
        return kept[-1]

    monkeypatch.setattr(ChatService, "_messages_of", keeping)
    return kept


def test_a_client_that_leaves_ends_the_export(
    long: Api, reading: list[AsyncGenerator[Message, None]]
) -> None:
    [session] = long.sessions()
    with closing(Dawdler(long, session["session_id"]).socket):
        [messages] = reading
        assert not is_closed(messages)
    until(lambda: is_closed(messages))


def test_a_session_is_removed_while_somebody_reads_its_export_slowly(api: Api) -> None:
    session = fill(api)
    slow = Dawdler(api, session)
    with closing(slow.socket):
        assert api.call("DELETE", f"{B}/sessions/{session}", soft="false").status_code == 204
        assert api.sessions(include_deleted="true") == []
        found = slow.begun + slow.rest()
    assert 0 < found.count(MARK) < MANY
    assert found.endswith(b"]}\r\n0\r\n\r\n")  # whole, as far as it goes


def test_a_slow_client_holds_no_transaction_open(
    long: Api, databases: ChosenDatabases, tmp_path_factory: pytest.TempPathFactory
) -> None:
    [session] = long.sessions()
    folder = long.server.plugin.runtime.settings.data

    def free() -> bool:
        if CHOSEN != "sqlite":
            sql = (
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
            )
            return int(databases.rows(folder, sql)[0][0]) == 0
        with closing(sqlite3.connect(folder / "mission.sqlite3")) as connection:
            [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    slow = Dawdler(long, session["session_id"])
    with closing(slow.socket):
        long.session("something to write")
        until(free)
        assert slow.rest().count(MARK) + slow.begun.count(MARK) == MANY
