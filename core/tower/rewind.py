"""Working memory as it was in the middle of a process, from the steps that have written it."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import TypeAdapter

from ..clock import Micros
from ..storage.persistence import Transaction
from .process import ProcessControlBlock

STATE = "state"
WRITTEN: TypeAdapter[dict[str, str | None] | None] = TypeAdapter(dict[str, str | None] | None)
"""Output of a step that writes: JSON by key, None for one that it has removed. It was None where
earlier versions have written nothing for want of room."""


async def state_after(
    tx: Transaction, origin: ProcessControlBlock, session: int, steps: Collection[int], at: Micros
) -> dict[str, str]:
    """Inside a unit: what the capability held once `origin` had done these steps (by id), and
    others what they did until `at`. What only removed processes have written is as it is now."""
    rows = await tx.fetch_all(
        "SELECT name, value FROM working_state WHERE session_id = ? AND capability = ?",
        (session, origin.capability),
    )
    held: dict[str, str] = {row["name"]: row["value"] for row in rows}
    writes = await tx.fetch_all(
        "SELECT s.id, s.process_id, s.created_at FROM step s JOIN process p ON p.pid = s.process_id"
        " WHERE p.session_id = ? AND p.capability = ? AND s.kind = ? AND s.status = 'completed'"
        " AND s.name <> 'all' AND s.name NOT LIKE ? ORDER BY s.id DESC",
        (session, origin.capability, STATE, "get %"),
    )
    earlier: list[int] = []
    undone: set[str] = set()
    for row in writes:
        own = row["process_id"] == origin.pid
        if row["id"] in steps if own else row["created_at"] <= at:
            earlier.append(row["id"])
        else:
            undone.update(await _written(tx, row["id"]))
    for key in undone:
        held.pop(key, None)
    for step in earlier:  # the last write of a key counts
        if not undone:
            break
        for key, text in (await _written(tx, step)).items():
            if key in undone and text is not None:
                held[key] = text
            undone.discard(key)
    return held


async def _written(tx: Transaction, step: int) -> dict[str, str | None]:
    row = await tx.fetch_one(
        "SELECT COALESCE(o.body, s.output) AS output FROM step s"
        " LEFT JOIN step_output o ON o.step_id = s.id WHERE s.id = ?",
        (step,),
    )
    return (WRITTEN.validate_json(row["output"]) if row is not None else None) or {}
