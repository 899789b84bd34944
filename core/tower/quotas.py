"""Quotas that change while their process lives."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from ..clock import now
from ..errors import Conflict, Forbidden, InvalidInput, NotFound
from ..events.event import NewEvent
from ..events.log import EventLog
from ..storage.persistence import Transaction
from .process import ProcessControlBlock, ProcessState, Quota
from .store import find_in_unit

ENDED = (ProcessState.TERMINATED, ProcessState.ZOMBIE)


def adjusted(quota: Quota, changes: dict[str, Any], *, may_raise: bool) -> Quota:
    """The quota with these changes.

    Raises:
        InvalidInput: no such limit, or no value for it.
        Forbidden: a limit would grow, and `may_raise` is False.
    """
    try:
        new = Quota.model_validate(quota.model_dump() | changes)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(".".join(map(str, first["loc"])), first["msg"]) from None
    for name in changes:
        before, after = getattr(quota, name), getattr(new, name)
        if _grows(before, after) and not may_raise:
            raise Forbidden(f"only an administrator may raise {name}, which is {before}")
    return new


def _grows(before: float | str, after: float | str) -> bool:
    if isinstance(before, str) or isinstance(after, str):
        return (before, after) == ("end", "ask")  # who is asked may extend, again and again
    return after > before


async def adjust(
    tx: Transaction, log: EventLog, pid: str, changes: dict[str, Any], *, may_raise: bool
) -> ProcessControlBlock:
    """One unit: the process with another quota. Raises as `adjusted`, NotFound, Conflict."""
    found = await find_in_unit(tx, pid)
    if found is None:
        raise NotFound("process", pid)
    process, row = found
    if process.state in ENDED:
        raise Conflict(f"process {pid} has ended already ({process.outcome})")
    quota = adjusted(process.quota, changes, may_raise=may_raise)
    if quota == process.quota:
        return process
    changed = await tx.execute(
        "UPDATE process SET quota = ? WHERE pid = ? AND quota = ?"
        " AND state NOT IN ('terminated', 'zombie')",
        (quota.as_json(), pid, row["quota"]),
    )
    if not changed:
        raise Conflict(f"process {pid} was changed meanwhile; look at it and try again")
    process_quota = process.quota.model_dump()
    told = {
        name: {"from": process_quota[name], "to": value}
        for name, value in quota.model_dump().items()
        if value != process_quota[name]
    }
    event = NewEvent("resource.adjusted", {"quota": told}, pid)
    await log.append(tx, row["session_id"], process.user_id, [event], now())
    found = await find_in_unit(tx, pid)
    return found[0] if found is not None else process
