"""Opens the database that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .persistence import Params, Persistence, Row, Transaction, Unit
from .sqlite.database import SqliteDatabase

if TYPE_CHECKING:
    from ..settings import Settings

__all__ = ["Database", "Params", "Persistence", "Row", "Transaction", "Unit", "make_database"]

Database = SqliteDatabase


def make_database(settings: Settings) -> Database:
    """The database of these settings, not yet open."""
    return SqliteDatabase(settings.data)
