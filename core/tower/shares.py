"""Shares: what a child may use is a part of what its parent may, in each of its limits."""

from __future__ import annotations

from collections.abc import Iterable

from ..storage.persistence import Transaction
from .process import ProcessControlBlock, Quota

COUNTED = ("llm_calls", "tool_calls", "agent_hops", "iterations", "steps")
_SECONDS = ("timeout_seconds", "soft_timeout_seconds")
_SHARED = {f"max_{name}": name for name in COUNTED} | dict.fromkeys(_SECONDS, "elapsed_seconds")
"""The limits that children share with their parent, each with the usage that it bounds."""
_SMALLEST = {"max_steps": 1} | dict.fromkeys(_SECONDS, 0.001)


def _grows(before: float | str, after: float | str) -> bool:
    """Whether this change of a limit lets a process use more."""
    if isinstance(before, str) or isinstance(after, str):
        return (before, after) == ("end", "ask")  # who is asked may extend, again and again
    return after > before


def least(wanted: Quota, bound: Quota, names: Iterable[str] = tuple(Quota.model_fields)) -> Quota:
    """The quota, where each of these limits lets use no more than the other's."""
    limits = {name: getattr(bound, name) for name in names}
    lower = {name: each for name, each in limits.items() if _grows(each, getattr(wanted, name))}
    return wanted.model_copy(update=lower)


async def share(tx: Transaction, parent: ProcessControlBlock, count: int) -> Quota:
    """What each of `count` may use: of what the parent has left, and has not given to children
    that still run, an equal part."""
    given = await _given(tx, parent.pid)
    parts: dict[str, float] = {}
    for limit, used in _SHARED.items():
        taken = getattr(parent.usage, used) + sum(getattr(quota, limit) for quota in given)
        parts[limit] = _at_least(limit, _part(limit, getattr(parent.quota, limit) - taken, count))
    return parent.quota.model_copy(update=parts)


async def lent_by(tx: Transaction, pid: str) -> dict[str, int]:
    """Inside a unit: of each count, what the children that live may use together."""
    given = await _given(tx, pid)
    return {name: sum(getattr(quota, f"max_{name}") for quota in given) for name in COUNTED}


def _part(limit: str, amount: float, count: int) -> float:
    amount = max(0, amount)
    return amount / count if limit in _SECONDS else amount // count


def _at_least(limit: str, amount: float) -> float:
    return max(_SMALLEST.get(limit, 0), amount)


async def _given(tx: Transaction, pid: str) -> list[Quota]:
    rows = await tx.fetch_all(
        "SELECT quota FROM process WHERE parent_pid = ? AND state NOT IN ('terminated', 'zombie')",
        (pid,),
    )
    return [Quota.model_validate_json(row["quota"]) for row in rows]
