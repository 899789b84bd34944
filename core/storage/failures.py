"""Which errors are the storage's, to be tried again, and which are the fault of what was asked."""

from __future__ import annotations

import sqlite3

from ..errors import Unavailable

_WRONG_SQL = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE)
_PASSING = {
    "PostgresConnectionError",
    "InterfaceError",  # the connection, or its pool, is closed
    "InternalClientError",
    "InsufficientResourcesError",
    "OperatorInterventionError",
    "TransactionRollbackError",
    "DBConnectionError",
    "TransactionManagementError",
}
"""Classes of asyncpg and Tortoise, by name: neither is imported unless it is in use."""


def storage_failed(error: BaseException) -> bool:
    """Whether the same may work later: the storage was away, full, locked or busy.

    The outcome of a write that failed so is unknown.
    """
    if isinstance(error, sqlite3.OperationalError):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_BUSY)
        return code & 0xFF not in _WRONG_SQL
    if isinstance(error, (OSError, Unavailable)):  # a TimeoutError is an OSError
        return True
    return any(
        each.__name__ in _PASSING and each.__module__.partition(".")[0] in ("asyncpg", "tortoise")
        for each in type(error).__mro__
    )
