"""SQLite: the embedded database, and the engine that gives Tortoise ORM safe access to it.

Tortoise finds the engine by this package's name: `{"engine": "mission_system.core.storage.sqlite",
"credentials": {"file_path": ...}}`; further credentials are pragmas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import SqliteClient as client_class  # noqa: N813 (the name Tortoise looks for)

__all__ = ["client_class"]


def __getattr__(name: str) -> Any:
    # Tortoise takes 0.4 s to import; a server that writes by SQL should not wait for it.
    if name == "client_class":
        from .client import SqliteClient

        return SqliteClient
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
