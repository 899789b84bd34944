"""Shares: what a child may use is a part of what its parent may, and shrinks with that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ..storage.persistence import Transaction
from .alarms import has_alarm
from .process import ProcessControlBlock, Quota
from .store import save_quota, unfinished_below

COUNTED = ("llm_calls", "tool_calls", "agent_hops", "iterations", "steps")
_SECONDS = ("timeout_seconds", "soft_timeout_seconds")
_SHARED = {f"max_{name}": name for name in COUNTED} | dict.fromkeys(_SECONDS, "elapsed_seconds")
"""The limits that children share with their parent, each with the usage that it bounds."""
_SMALLEST = {"max_steps": 1} | dict.fromkeys(_SECONDS, 0.001)

Adjusted = tuple[ProcessControlBlock, ProcessControlBlock]
"""A process before and after its quota was changed."""


def grows(before: float | str, after: float | str) -> bool:
    """Whether this change of a limit lets a process use more."""
    if isinstance(before, str) or isinstance(after, str):
        return (before, after) == ("end", "ask")  # who is asked may extend, again and again
    return after > before


def least(wanted: Quota, bound: Quota, names: Iterable[str] = tuple(Quota.model_fields)) -> Quota:
    """The quota, where each of these limits lets use no more than the other's."""
    limits = {name: getattr(bound, name) for name in names}
    lower = {name: each for name, each in limits.items() if grows(each, getattr(wanted, name))}
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


async def lower_below(
    tx: Transaction, before: ProcessControlBlock, after: ProcessControlBlock
) -> list[Adjusted]:
    """Inside the unit that changes the quota of a process: limits that are lower now are lowered
    below it too, where what is below may use more than is left. Nothing is raised."""
    below = await unfinished_below(tx, before.pid)
    spent: dict[tuple[str, str], float] = defaultdict(int)
    families: dict[str, list[ProcessControlBlock]] = defaultdict(list)
    for process in below:  # the deepest first: what is below a process is known when its turn comes
        parent_pid = process.parent_pid or ""
        families[parent_pid].append(process)
        for used in {*_SHARED.values()}:
            spent[process.pid, used] += getattr(process.usage, used)
            spent[parent_pid, used] += spent[process.pid, used]
    adjusted: list[Adjusted] = []
    line = [(before, after)]
    while line:
        old, parent = line.pop()
        children = families[parent.pid]
        if not children:
            continue
        lowered = [name for name in Quota.model_fields if grows(*_values(name, parent, old))]
        keeps = not parent.awaits_child or await has_alarm(tx, parent.pid)
        parts = _parts(parent, children, spent, keeps=keeps)
        for child in children:
            limits = {
                limit: _at_least(limit, spent[child.pid, _SHARED[limit]] + part)
                for limit, part in parts.items()
            }
            quota = least(child.quota, parent.quota.model_copy(update=limits), lowered)
            if quota != child.quota:
                changed = child.changed(quota=quota)
                await save_quota(tx, changed)
                adjusted.append((child, changed))
                line.append((child, changed))
    return adjusted


def _parts(
    parent: ProcessControlBlock,
    children: Sequence[ProcessControlBlock],
    spent: Mapping[tuple[str, str], float],
    *,
    keeps: bool,
) -> dict[str, float]:
    """Of each limit that the children together may go beyond: what each may use from now on. The
    parent `keeps` a part where it may go on before they have ended."""
    count = len(children) + keeps
    parts: dict[str, float] = {}
    for limit, used in _SHARED.items():
        left = getattr(parent.quota, limit) - getattr(parent.usage, used)
        if sum(getattr(child.quota, limit) for child in children) > left:
            rest = left - sum(spent[child.pid, used] for child in children)
            parts[limit] = _part(limit, rest, count)
    return parts


def _part(limit: str, amount: float, count: int) -> float:
    amount = max(0, amount)
    return amount / count if limit in _SECONDS else amount // count


def _at_least(limit: str, amount: float) -> float:
    return max(_SMALLEST.get(limit, 0), amount)


def _values(
    name: str, first: ProcessControlBlock, second: ProcessControlBlock
) -> tuple[float | str, float | str]:
    return getattr(first.quota, name), getattr(second.quota, name)


async def _given(tx: Transaction, pid: str) -> list[Quota]:
    rows = await tx.fetch_all(
        "SELECT quota FROM process WHERE parent_pid = ? AND state NOT IN ('terminated', 'zombie')",
        (pid,),
    )
    return [Quota.model_validate_json(row["quota"]) for row in rows]
