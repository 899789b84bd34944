"""How a SQLite file is opened."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mission_system.core.storage.sqlite.pragmas import PRAGMAS, open_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.sqlite3"


def test_every_pragma_holds_on_the_connection(path: Path) -> None:
    words = {"ON": 1, "NORMAL": 1, "MEMORY": 2, "WAL": "wal"}
    connection = open_database(str(path))
    for name, value in PRAGMAS.items():
        [(actual,)] = connection.execute(f"PRAGMA {name}")
        assert actual == words.get(str(value), value), name
    connection.close()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("synchronuos", "OFF", "no pragma 'synchronuos'"),
        ("cache_size", "1; DROP TABLE x", "not a number or a word"),
        ("cache_size=1; --", "1", "no pragma"),
    ],
)
def test_unknown_pragma_or_value_is_refused(path: Path, name: str, value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        open_database(str(path), {name: value})


def test_switch_to_wal_waits_for_another_connection(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (a)")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        open_database(str(path), {"busy_timeout": 20, "journal_mode": "WAL"})
    release = threading.Timer(0.1, other.rollback)
    release.start()
    connection = open_database(str(path))
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    release.join()
    connection.close()
    other.close()


def test_pragmas_are_imported_without_tortoise() -> None:
    code = (
        "import sys, mission_system.core.storage.sqlite.pragmas;sys.exit('tortoise' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
