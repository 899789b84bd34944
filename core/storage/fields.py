"""Columns that Tortoise has no field for."""

from __future__ import annotations

from tortoise.fields import BigIntField


class RowId(BigIntField):
    """A generated key that nobody keeps: SQLite may give the number of a removed newest row again.

    To promise that it never does (AUTOINCREMENT) costs it a look into a table of counters, and a
    write there, at every row.
    """

    class _db_sqlite(BigIntField._db_sqlite):  # noqa: N801 (the name that Tortoise looks for)
        GENERATED_SQL = "INTEGER PRIMARY KEY NOT NULL"
