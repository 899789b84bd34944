"""`mission.state`: the capability's working memory of this session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from ..clock import Micros
from ..errors import QuotaExceeded
from ..events.event import NewEvent
from ..memory.working import MAX_KEYS, WorkingMemory, has_room, store_values
from ..storage.persistence import Transaction
from .codec import exceeded_error
from .effects import Run
from .journal import Record, store_record
from .rewind import STATE, WRITTEN
from .state_values import StateValues, decoded
from .steps import Done

_TEXTS: TypeAdapter[list[str]] = TypeAdapter(list[str])
_BY_KEY: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])


class State:
    """Keys and values that stay with the session from one message to the next.

    Only this capability sees them here. They are JSON, or what the fields of
    `OrchestratorSpec.state` say. Every call is a step: a replay sees what was seen, and a write is
    stored together with its step. Of processes that write one key at the same time the last wins.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._memory = WorkingMemory(run.persistence)
        self._model = run.spec.state
        self._values = StateValues(run.spec.state)

    async def get(self, key: str, default: Any = None) -> Any:
        """The value; for a key never set `default`, or the default that the model declares.

        Raises:
            InvalidInput: the key is too long, or no field of the declared model.
            NotEncodable: what is stored is not of the declared type any more.
        """
        adapter = self._values.adapter(key)
        run = self._run

        async def call(_key: str, _attempt: int) -> Done:
            text = await self._memory.value(run.owner.stream, run.process.capability, key)
            return Done([] if text is None else [text])

        for text in await run.perform(STATE, f"get {key}", key, _TEXTS, call):
            return decoded(key, adapter, text)
        if default is None and self._model is not None:
            field = self._model.model_fields[key]
            return None if field.is_required() else field.get_default(call_default_factory=True)
        return default

    async def all(self) -> dict[str, Any]:
        """Every key that is set; of a declared model, its fields only. Raises NotEncodable."""
        run = self._run

        async def call(_key: str, _attempt: int) -> Done:
            return Done(await self._memory.values(run.owner.stream, run.process.capability))

        found = await run.perform(STATE, "all", None, _BY_KEY, call)
        known = found if self._model is None else self._model.model_fields.keys() & found.keys()
        return {
            key: decoded(key, self._values.adapter(key), text)
            for key, text in found.items()
            if key in known
        }

    async def set(self, key: str, value: Any) -> None:
        """Keep a value.

        Raises:
            InvalidInput: `state.<key>` is no field of the declared model, has another type, has no
                JSON form, or is above 64 KiB.
            QuotaExceeded: `max_state_keys_exceeded`: the session has 200 keys.
        """
        await self._write(f"set {key}", {key: self._values.text(key, value)})

    async def update(self, values: Mapping[str, Any]) -> None:
        """Keep several values, all or none. Raises as `set`."""
        texts = {key: self._values.text(key, value) for key, value in values.items()}
        await self._write("update", texts)

    async def delete(self, key: str) -> None:
        """Forget a key; one that was never set is forgotten too. Raises InvalidInput."""
        self._values.adapter(key)
        await self._write(f"delete {key}", {key: None})

    async def _write(self, name: str, texts: Mapping[str, str | None]) -> None:
        run, kept = self._run, [key for key, text in texts.items() if text is not None]
        session, capability = run.owner.stream, run.process.capability

        full = QuotaExceeded(
            "max_state_keys_exceeded",
            f"a session's working memory holds at most {MAX_KEYS} keys; delete some first",
        )

        async def call(_key: str, _attempt: int) -> Done:
            return Done(texts)

        def store(record: Record) -> Callable[..., Awaitable[list[NewEvent]]]:
            finished = record.status == "completed"
            refused = replace(record, status="failed", output=None, error=exceeded_error(full))

            def refuse() -> None:
                record.status, record.output, record.error = "failed", None, refused.error

            async def write(tx: Transaction, at: Micros) -> list[NewEvent]:
                if not finished:
                    return []
                # Here, and not in the call: no two branches or processes pass the limit together.
                if not await has_room(tx, session, capability, kept):
                    await store_record(tx, run.owner.pid, refused)
                    tx.after_commit(refuse)
                    return []
                await store_values(tx, session, capability, texts, at)
                payload = {"step": record.key, "capability": capability, "keys": list(texts)}
                return [NewEvent("state.changed", payload, run.owner.pid)]

            return write

        if await run.perform(STATE, name, texts, WRITTEN, call, tell=store) is None:
            raise full  # as earlier versions have recorded it
