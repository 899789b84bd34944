"""PostgreSQL: for databases that live longer, or elsewhere, than one server.

Tortoise finds the engine by this package's name, with the credential `dsn`: a URL. It needs the
extra `postgres`, and nothing imports it unless the settings name a database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import PostgresClient as client_class  # noqa: N813 (the name Tortoise looks for)

__all__ = ["client_class"]


def __getattr__(name: str) -> Any:
    # Tortoise takes 0.4 s to import; a server that writes by SQL should not wait for it.
    if name == "client_class":
        from .client import PostgresClient

        return PostgresClient
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
