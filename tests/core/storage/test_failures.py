"""Which errors of a write may pass by themselves."""

from __future__ import annotations

import sqlite3

import pytest

from mission_system.core.errors import InvalidInput, Unavailable
from mission_system.core.storage.failures import storage_failed


def wrong_sql() -> sqlite3.OperationalError:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("SELECT * FROM nowhere")
    except sqlite3.OperationalError as error:
        return error
    finally:
        connection.close()
    raise AssertionError


class PostgresError(Exception):
    __module__ = "asyncpg.exceptions._base"


class PostgresConnectionError(PostgresError):
    __module__ = "asyncpg.exceptions"


class ConnectionDoesNotExistError(PostgresConnectionError):
    __module__ = "asyncpg.exceptions"


class UniqueViolationError(PostgresError):
    __module__ = "asyncpg.exceptions"


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError("disk full"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (Unavailable("closing"), True),
        (sqlite3.OperationalError("database is locked"), True),
        (ConnectionDoesNotExistError(), True),
        (wrong_sql(), False),
        (sqlite3.IntegrityError("UNIQUE"), False),
        (UniqueViolationError(), False),
        (InvalidInput("name", "too long"), False),
        (KeyError("k"), False),
    ],
)
def test_error_of_the_storage_is_told_from_that_of_a_unit(error: Exception, passes: bool) -> None:
    assert storage_failed(error) is passes
