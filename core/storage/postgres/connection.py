"""Connections to the server, and which of their errors say that it is away."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import asyncpg

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 30.0

# With keepalives the server notices a client whose machine is gone, and frees its locks, in half a
# minute; by default it takes two hours. To compile a statement (JIT) takes 30 ms, and is done for
# all that the planner believes to be long; none of ours is.
SERVER_SETTINGS = {
    "jit": "off",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "statement_timeout": f"{STATEMENT_SECONDS:g}s",
    "idle_in_transaction_session_timeout": "60s",
}

FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Whatever connecting, or work on a connection, raises."""

_GONE = (
    asyncpg.InternalClientError,  # of a session that the server has just ended
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
)


async def connect(url: str, **settings: str) -> asyncpg.Connection:
    """One connection outside any pool. `settings` are the server's, for this session."""
    return await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        command_timeout=STATEMENT_SECONDS,
        server_settings={**SERVER_SETTINGS, **settings},
    )


async def prepare(connection: asyncpg.Connection) -> None:
    """Let numbers be what they are on SQLite: a SUM of integers is an int, not a Decimal."""
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text"
    )


def is_gone(error: BaseException, connection: Any = None) -> bool:
    """Whether the error means that the connection is lost, and not that it took too long."""
    if isinstance(error, TimeoutError):
        return False
    if isinstance(error, asyncpg.InterfaceError):  # also raised for wrong arguments
        return connection is None or is_closed(connection)
    return isinstance(error, (OSError, *_GONE))


def is_closed(connection: Any) -> bool:
    """Also of a pool's connection, which the pool takes back at once when it breaks."""
    try:
        closed: bool = connection.is_closed()
    except asyncpg.InterfaceError:
        return True
    return closed


def drop(connection: Any) -> None:
    """Close it now, whatever it is doing."""
    if not is_closed(connection):
        connection.terminate()


def shown(url: str) -> str:
    """The address without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'local socket'}:{parts.port or 5432}{parts.path}"


def _number(text: str) -> int | float:
    return json.loads(text) if text[-1:].isdigit() else float(text)
