"""Requests that may be sent again: a key names one piece of work of one user."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

import orjson

from ..chat.text import MAX_ID, checked
from ..errors import Busy, Conflict, InvalidInput, NotFound
from ..storage.persistence import Persistence
from .admission import check_request
from .process import Envelope, ProcessControlBlock, SchedulingPriority

if TYPE_CHECKING:
    from .control_tower import ControlTower


async def submit_once(
    tower: ControlTower, envelope: Envelope, priority: SchedulingPriority, wait: float | None
) -> Envelope:
    """Submits a request with a key; where the key is known, gives what has become of it.

    Raises:
        InvalidInput: the key cannot be one, or there is a request id beside it.
        Conflict: the key came with other work before.
        Busy: the work cannot be taken now, and was not taken before either.
    """
    caller, id = envelope.caller, _request_id(envelope)
    try:
        known = await tower.get(caller, id)
    except NotFound:
        new = replace(envelope, request_id=id, idempotency_key=None)
        try:
            return await tower.submit_request(new, priority, wait=wait)
        except (Busy, Conflict) as refusal:
            # The same request may have been sent twice at the same time, and the other was taken.
            try:
                known = await tower.get(caller, id)
            except NotFound:
                raise refusal from None
    _check_same(check_request(envelope), known, await tower.context_of(caller, known.pid))
    if wait is not None:
        known = await tower.wait(caller, known.pid, wait)
    return envelope.with_process(known)


def checked_key(field: str, key: str, request_id: str | None) -> str:
    """The key itself, where `field` may hold it.

    Raises:
        InvalidInput: it cannot be a key, or there is a request id beside it.
    """
    if request_id is not None:
        raise InvalidInput(field, "send either this or a request id, not both")
    return checked(field, key, longest=MAX_ID)


async def read_context(persistence: Persistence, user_id: str, pid: str) -> dict[str, Any]:
    """What the request of a process gave beside its message; empty where there is none."""
    row = await persistence.fetch_one(
        "SELECT input FROM process WHERE user_id = ? AND pid = ?", (user_id, pid)
    )
    context: dict[str, Any] = orjson.loads(row["input"])["context"] if row else {}
    return context


def _request_id(envelope: Envelope) -> str:
    """The request id that the key stands for; no two users have the same."""
    assert envelope.idempotency_key is not None
    key = checked_key("idempotency_key", envelope.idempotency_key, envelope.request_id)
    user = envelope.caller.user_id
    return str(uuid5(NAMESPACE_OID, f"idempotency:{len(user)}:{user}:{key}"))


def _check_same(envelope: Envelope, known: ProcessControlBlock, context: dict[str, Any]) -> None:
    """What the envelope leaves to the server is no difference."""
    for name, now, then in (
        ("message", envelope.message, known.message),
        ("session", envelope.session_id, known.session_id),
        ("capability", envelope.capability, known.capability),
        ("context", envelope.context, context),
    ):
        if now not in (None, then):
            raise Conflict(
                f"this idempotency key was used for a request with another {name}; send a new key"
                " with new work"
            )
