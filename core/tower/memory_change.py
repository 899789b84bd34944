"""Working memory, changed by its user from outside any run."""

from __future__ import annotations

from typing import Any

import orjson

from ..capabilities import CapabilityRegistry
from ..chat.text import known_form
from ..clock import now, to_datetime
from ..errors import InvalidInput, NotFound, QuotaExceeded
from ..events.event import NewEvent
from ..events.log import EventLog
from ..identity import Caller
from ..memory.working import MAX_KEYS, StateEntry, store_values
from ..storage.persistence import Persistence, Transaction
from .state_values import StateValues

_OTHERS = (
    "SELECT COUNT(*) FROM working_state WHERE session_id = ? AND NOT (capability = ? AND name = ?)"
)


class MemoryChanges:
    """One key at a time. A run of the capability that has read the key before keeps what it read,
    as its journal has it; of two writers the last one wins."""

    def __init__(
        self, persistence: Persistence, log: EventLog, capabilities: CapabilityRegistry
    ) -> None:
        self._persistence = persistence
        self._log = log
        self._capabilities = capabilities

    async def set(
        self, caller: Caller, session_id: str, key: str, value: Any, capability: str | None = None
    ) -> StateEntry:
        """Keep a value for a capability; None takes the session's own, then the default.

        Raises:
            NotFound: the session is not the caller's, or was deleted.
            InvalidInput: no such capability; or `key`, or `state.<key>` and a place in it, is not
                what the capability's model declares.
            QuotaExceeded: the session has as many keys as it may.
        """
        capability, values = await self._declared(caller, session_id, capability, key)
        text = values.text(key, value)
        at = await self._write(caller, session_id, capability, key, text)
        return StateEntry(capability, key, orjson.loads(text), to_datetime(at))

    async def remove(
        self, caller: Caller, session_id: str, key: str, capability: str | None = None
    ) -> None:
        """Forget a key; one that was never set is forgotten too. Raises as `set`."""
        capability, _ = await self._declared(caller, session_id, capability, key)
        await self._write(caller, session_id, capability, key, None)

    async def _declared(
        self, caller: Caller, session_id: str, capability: str | None, key: str
    ) -> tuple[str, StateValues]:
        """Whose key it is, and what it declares."""
        row = await self._persistence.fetch_one(
            "SELECT capability FROM session WHERE user_id = ? AND public_id = ?"
            " AND deleted_at IS NULL",
            (caller.user_id, known_form("session", session_id)),
        )
        if row is None:
            raise NotFound("session", session_id)
        spec = self._capabilities.choose(capability or row["capability"])
        values = StateValues(spec.state)
        try:
            values.adapter(key)
        except InvalidInput as error:
            raise InvalidInput("key", error.text) from None
        return spec.name, values

    async def _write(
        self, caller: Caller, session_id: str, capability: str, key: str, text: str | None
    ) -> int:
        where = (caller.user_id, session_id)

        async def unit(tx: Transaction) -> int:
            at = now()
            find = "SELECT id FROM session WHERE user_id = ? AND public_id = ?"
            await tx.lock(find, where)  # so that no two pass the limit together
            row = await tx.fetch_one(f"{find} AND deleted_at IS NULL", where)
            if row is None:
                raise NotFound("session", session_id)
            session: int = row["id"]
            others = await tx.fetch_one(_OTHERS, (session, capability, key))
            if text is not None and others is not None and others[0] >= MAX_KEYS:
                raise QuotaExceeded(
                    "max_state_keys_exceeded",
                    f"a session's working memory holds at most {MAX_KEYS} keys; remove some first",
                )
            await store_values(tx, session, capability, {key: text}, at)
            changed = NewEvent("state.changed", {"capability": capability, "keys": [key]})
            await self._log.append(tx, session, caller.user_id, [changed], at)
            return at

        return await self._persistence.write(unit)
