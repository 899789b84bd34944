"""Quotas that change while their process lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from ..clock import now
from ..errors import Conflict, Forbidden, InvalidInput, NotFound
from ..events.event import NewEvent
from ..events.log import EventLog
from ..storage.persistence import Transaction
from .process import ProcessControlBlock, ProcessState, Quota
from .shares import Adjusted, grows, lower_below
from .store import find_in_unit, save_quota

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
        if grows(before, after) and not may_raise:
            raise Forbidden(f"only an administrator may raise {name}, which is {before}")
    return new


async def adjust(
    tx: Transaction,
    log: EventLog,
    pid: str,
    changes: dict[str, Any],
    *,
    may_raise: bool,
    stored: Callable[[Sequence[Adjusted]], None],
) -> ProcessControlBlock:
    """One unit: the process with another quota, and those below it with what that leaves them;
    `stored` is called with all of them in the order of the commits.

    Raises as `adjusted`, NotFound, Conflict.
    """
    found = await find_in_unit(tx, pid)
    if found is None:
        raise NotFound("process", pid)
    before, row = found
    if before.state in ENDED:
        raise Conflict(f"process {pid} has ended already ({before.outcome})")
    after = before.changed(quota=adjusted(before.quota, changes, may_raise=may_raise))
    if after == before:
        return before
    await save_quota(tx, after)
    every = [(before, after), *await lower_below(tx, before, after)]
    events = [_told(*each) for each in every]
    await log.append(tx, row["session_id"], before.user_id, events, now())
    tx.after_commit(lambda: stored(every))
    return after


def _told(before: ProcessControlBlock, after: ProcessControlBlock) -> NewEvent:
    old = before.quota.model_dump()
    changed = {
        name: {"from": old[name], "to": value}
        for name, value in after.quota.model_dump().items()
        if value != old[name]
    }
    return NewEvent("resource.adjusted", {"quota": changed}, after.pid)
