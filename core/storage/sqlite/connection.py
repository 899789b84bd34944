"""Plain connections to the database file, for threads."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .pragmas import PRAGMAS, open_database


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the file in autocommit mode, rows by name or position.

    It may be closed from another thread than the one that uses it. Blocks, see `open_database`.
    """
    pragmas = {**PRAGMAS, "query_only": "ON"} if read_only else PRAGMAS
    return open_database(str(path), pragmas, check_same_thread=False)
