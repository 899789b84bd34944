"""Working memory (L4): what a capability keeps of a session between its messages.

Each capability has keys of its own in each session. Values are JSON text here; their types belong
to the capability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from ..clock import Micros, to_datetime
from ..errors import NotFound
from ..identity import Caller
from ..storage.persistence import Persistence, Transaction

MAX_KEY = 100  # characters
MAX_VALUE = 64 * 1024  # bytes of JSON
MAX_KEYS = 200  # of one session, all capabilities together


@dataclass(frozen=True, slots=True)
class StateEntry:
    """One key of a session's working memory. `value` is in JSON types."""

    capability: str
    key: str
    value: Any
    updated_at: datetime


class WorkingMemory:
    """Reads of the working memory; it is written inside the units of runs."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence

    async def entries(self, caller: Caller, session_id: str) -> list[StateEntry]:
        """Everything that the caller's session holds, by capability and key. Raises NotFound."""
        session = await self._persistence.fetch_one(
            "SELECT id FROM session WHERE user_id = ? AND public_id = ?",
            (caller.user_id, session_id),
        )
        if session is None:
            raise NotFound("session", session_id)
        number: int = session["id"]
        return (await self.entries_of(caller, [number])).get(number, [])

    async def entries_of(
        self, caller: Caller, sessions: Sequence[int]
    ) -> dict[int, list[StateEntry]]:
        """What each of these sessions of the caller's holds, by `Session.id`."""
        marks = ", ".join("?" * len(sessions))
        rows = await self._persistence.fetch_all(
            "SELECT w.session_id, w.capability, w.name, w.value, w.updated_at"  # noqa: S608
            " FROM working_state w JOIN session s ON s.id = w.session_id"
            f" WHERE s.user_id = ? AND w.session_id IN ({marks})"
            " ORDER BY w.session_id, w.capability, w.name",
            (caller.user_id, *sessions),
        )
        found: dict[int, list[StateEntry]] = {}
        for row in rows:
            entry = StateEntry(
                row["capability"],
                row["name"],
                orjson.loads(row["value"]),
                to_datetime(row["updated_at"]),
            )
            found.setdefault(row["session_id"], []).append(entry)
        return found

    async def values(self, session: int, capability: str) -> dict[str, str]:
        """What one capability holds of a session (by number): JSON by key, in order of keys."""
        rows = await self._persistence.fetch_all(
            "SELECT name, value FROM working_state WHERE session_id = ? AND capability = ?"
            " ORDER BY name",
            (session, capability),
        )
        return {row["name"]: row["value"] for row in rows}

    async def value(self, session: int, capability: str, key: str) -> str | None:
        """JSON of one key; None when it was never set."""
        row = await self._persistence.fetch_one(
            "SELECT value FROM working_state WHERE session_id = ? AND capability = ? AND name = ?",
            (session, capability, key),
        )
        return row["value"] if row is not None else None


async def has_room(tx: Transaction, session: int, capability: str, keys: Sequence[str]) -> bool:
    """Inside a unit that holds the session: whether it stays within `MAX_KEYS` when these are
    set."""
    if not keys:
        return True
    marks = ", ".join("?" * len(keys))
    row = await tx.fetch_one(
        "SELECT COUNT(*) FROM working_state WHERE session_id = ?"  # noqa: S608
        f" AND NOT (capability = ? AND name IN ({marks}))",
        (session, capability, *keys),
    )
    return (row[0] if row else 0) + len(keys) <= MAX_KEYS


async def store_values(
    tx: Transaction, session: int, capability: str, values: Mapping[str, str | None], at: Micros
) -> None:
    """Inside a unit: JSON by key; None removes the key. Of two writers the last one wins."""
    for key, value in values.items():
        if value is None:
            await tx.execute(
                "DELETE FROM working_state WHERE session_id = ? AND capability = ? AND name = ?",
                (session, capability, key),
            )
        else:
            await tx.execute(
                "INSERT INTO working_state (session_id, capability, name, value, updated_at)"
                " VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (session_id, capability, name)"
                " DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
                (session, capability, key, value, at),
            )
