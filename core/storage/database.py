"""Opens the database that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .persistence import DatabaseUnusable, Params, Persistence, Row, Transaction, Unit
from .sqlite.database import SqliteDatabase

if TYPE_CHECKING:
    from ..settings import Settings

__all__ = ["Database", "Params", "Persistence", "Row", "Transaction", "Unit", "make_database"]


@runtime_checkable
class Database(Persistence, Protocol):
    """A persistence of ours: it knows which server uses it."""

    async def open_beside(self) -> None:
        """Open what a server has stored, running or not, for a command that reads or writes a row.

        Makes nothing; raises NothingStored where there is nothing."""
        ...

    @property
    def backend(self) -> str:
        """What kind of database it is: `sqlite`, `postgresql`."""
        ...

    @property
    def written(self) -> tuple[int, int]:
        """(commits, units in them) since it was opened."""
        ...

    @property
    def lost(self) -> str | None:
        """Why this server can use it never again, once another one has taken it over."""
        ...

    async def announce(self, url: str) -> None:
        """Say where the server listens, to the command line and to servers that come too late."""
        ...


def make_database(settings: Settings) -> Database:
    """The database of these settings, not yet open.

    Raises:
        DatabaseUnusable: the settings name PostgreSQL, and its extra is not installed.
    """
    if settings.database_url is None:
        return SqliteDatabase(settings.data)
    try:
        from .postgres.database import PostgresDatabase
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise DatabaseUnusable(
            "MISSION_DATABASE_URL names PostgreSQL, whose driver is not installed:"
            " pip install 'mission-system[postgres]'"
        ) from None
    return PostgresDatabase(settings.database_url.get_secret_value(), settings.data)
