"""The units of children: stored with the suspension that awaits them, settled into their parent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from ..capabilities import OrchestratorSpec, Reply
from ..clock import Micros, from_datetime, to_datetime
from ..errors import ChildFailed
from ..events.event import NewEvent
from ..storage.persistence import Transaction
from .codec import encode, encode_error
from .interrupt_store import close_interrupts, turned_to
from .journal import Record, store_record
from .process import Interrupt, Outcome, ProcessControlBlock, ProcessState, Quota, Usage
from .shares import COUNTED, least, share
from .store import (
    find_in_unit,
    insert_process,
    moved,
    save_state,
    unfinished_below,
)

REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)
SPAWN = "spawn"
_ADDED = (*COUNTED, "tokens_in", "tokens_out", "cost", "elapsed")
_BILL = (
    "UPDATE process SET llm_calls = llm_calls + ?, tool_calls = tool_calls + ?,"
    " agent_hops = agent_hops + ?, iterations = iterations + ?, steps = steps + ?,"
    " tokens_in = tokens_in + ?, tokens_out = tokens_out + ?, cost = cost + ?,"
    " elapsed = elapsed + ? WHERE pid = ?"
)


@dataclass(frozen=True, slots=True)
class Spawning:
    """A child about to be stored. `key` and `digest` are those of the parent's step."""

    pid: str
    key: str
    digest: str
    spec: OrchestratorSpec
    message: str
    context: dict[str, Any]
    quota: Quota | None


@dataclass(slots=True)
class Aftermath:
    """What a unit has done to processes other than its own: `ready` are to be put in line, the
    runs of `ended` to be stopped."""

    ready: list[ProcessControlBlock] = field(default_factory=list)
    ended: list[ProcessControlBlock] = field(default_factory=list)


async def insert_children(
    tx: Transaction,
    parent: ProcessControlBlock,
    stream: int,
    provider_of: Callable[[str], str],
    spawnings: list[Spawning],
    default: Quota,
    at: Micros,
    *,
    keeps: bool,
) -> tuple[list[ProcessControlBlock], list[NewEvent]]:
    """Inside the unit that suspends their parent: new processes, ready to run. The parent `keeps`
    a share where it may go on before they have ended."""
    found = await find_in_unit(tx, parent.pid)  # its quota may be another than when its run began
    part = await share(tx, found[0] if found else parent, len(spawnings) + keeps)
    children: list[ProcessControlBlock] = []
    events: list[NewEvent] = []
    for new in spawnings:
        wanted = new.quota or new.spec.quota or default
        child, ready = moved(_child(parent, new, least(wanted, part), at), ProcessState.READY)
        input = {"context": new.context, "provider": provider_of(child.capability)}
        await insert_process(tx, child, stream, input, at)
        step = Record(new.key, SPAWN, child.capability, new.digest, "started", at)
        await store_record(tx, parent.pid, step)
        created = {
            "capability": child.capability,
            "priority": child.priority,
            "request_id": child.request_id,
            "message_id": child.message_id,
            "parent_pid": parent.pid,
        }
        events += [NewEvent("process.created", created, child.pid), ready]
        children.append(child)
    return children, events


async def awaited(tx: Transaction, pid: str) -> set[str]:
    """Inside a unit: keys of the steps of this process whose child has not ended."""
    rows = await tx.fetch_all(
        "SELECT key FROM step WHERE process_id = ? AND kind = ? AND status = 'started'",
        (pid, SPAWN),
    )
    return {row["key"] for row in rows}


async def store_result(tx: Transaction, pid: str, reply: Reply) -> str:
    """Inside the unit that ends a child: its reply; as JSON, for `settle`."""
    result = encode(SPAWN, REPLY, reply)
    await tx.execute("UPDATE process SET result = ? WHERE pid = ?", (result, pid))
    return result


async def settle(
    tx: Transaction, child: ProcessControlBlock, result: str | None, at: Micros
) -> tuple[ProcessControlBlock | None, list[NewEvent]]:
    """Inside the unit that ends a process: the outcome as its parent's step, if it has one.

    Gives the parent where this has made it ready: it waits for nothing else, or for several.
    """
    if child.parent_pid is None or child.parent_key is None:
        return None, []
    await _bill(tx, child.pid, child.parent_pid)  # first: it locks the parent's row
    found = await find_in_unit(tx, child.parent_pid)
    if found is None or found[0].outcome is not None:
        return None, []
    parent = found[0]
    step = Record(
        key=child.parent_key,
        kind=SPAWN,
        name=child.capability,
        digest="",  # stored when it began
        status="completed" if result is not None else "failed",
        created_at=from_datetime(child.created_at),
        output=result,
        error=None if result is not None else _failure(child),
        duration=at - from_datetime(child.created_at),
    )
    await store_record(tx, parent.pid, step)
    if parent.state is not ProcessState.WAITING and not parent.awaits_child:
        return None, []
    process, ready = moved(parent, ProcessState.READY, "child_ended")
    process = process.changed(reason=None)
    await save_state(tx, process, parent.state, parent.epoch)
    return process, [ready]


async def cancel_one(
    tx: Transaction,
    before: ProcessControlBlock,
    reason: str,
    at: Micros,
    shown: Interrupt | None = None,
) -> tuple[ProcessControlBlock, list[NewEvent]]:
    """Inside a unit: this process is ended, its run fenced out, its questions closed. `shown` is
    the question of its request that was to be shown before the unit closed any."""
    process, changed = await _end(tx, before, Outcome.CANCELLED, reason, None, at)
    payload = {"reason": reason, **process.names, **await turned_to(tx, process.pid, shown)}
    return process, [changed, NewEvent("process.cancelled", payload, process.pid)]


async def fail_one(
    tx: Transaction,
    before: ProcessControlBlock,
    reason: str,
    error: str,
    at: Micros,
    shown: Interrupt | None = None,
) -> tuple[ProcessControlBlock, list[NewEvent]]:
    """The same of a process that has failed, whatever its run may still do."""
    process, changed = await _end(tx, before, Outcome.FAILED, reason, error, at)
    turned = await turned_to(tx, process.pid, shown)
    payload = {"reason": reason, "error": error, **process.names, **turned}
    return process, [changed, NewEvent("process.failed", payload, process.pid)]


async def cancel_below(
    tx: Transaction, pid: str, at: Micros
) -> tuple[list[ProcessControlBlock], list[NewEvent]]:
    """Inside the unit that ends `pid`: so are all that it has spawned, and they in turn."""
    ended: list[ProcessControlBlock] = []
    events: list[NewEvent] = []
    for before in await unfinished_below(tx, pid):
        process, told = await cancel_one(tx, before, "parent_ended", at)
        if process.parent_pid is not None:
            await _bill(tx, process.pid, process.parent_pid)
        ended.append(process)
        events += told
    return ended, events


async def billed_to(tx: Transaction, pid: str) -> dict[str, int]:
    """Inside a unit: what `_bill` has added, of the counts that a replay counts again."""
    row = await tx.fetch_one(
        "SELECT COALESCE(SUM(agent_hops), 0) AS agent_hops,"
        " COALESCE(SUM(iterations), 0) AS iterations FROM process"
        " WHERE parent_pid = ? AND state IN ('terminated', 'zombie')",
        (pid,),
    )
    return {name: row[name] for name in ("agent_hops", "iterations")} if row else {}


async def _end(
    tx: Transaction,
    before: ProcessControlBlock,
    outcome: Outcome,
    reason: str,
    error: str | None,
    at: Micros,
) -> tuple[ProcessControlBlock, NewEvent]:
    process, changed = moved(
        before,
        ProcessState.TERMINATED,
        reason,
        epoch=before.epoch + 1,
        outcome=outcome,
        completed_at=to_datetime(at),
        error=error,
        interrupts=(),
    )
    process = process.changed(reason=reason)
    await save_state(tx, process, before.state, before.epoch)
    await close_interrupts(tx, process.pid, at)
    return process, changed


async def _bill(tx: Transaction, pid: str, parent_pid: str) -> None:
    """What a process has used counts as its parent's too."""
    row = await tx.fetch_one("SELECT * FROM process WHERE pid = ?", (pid,))
    if row is not None:
        await tx.execute(_BILL, (*(row[name] for name in _ADDED), parent_pid))


def _child(
    parent: ProcessControlBlock, new: Spawning, quota: Quota, at: Micros
) -> ProcessControlBlock:
    return ProcessControlBlock(
        pid=new.pid,
        request_id=new.pid,
        session_id=parent.session_id,
        user_id=parent.user_id,
        capability=new.spec.name,
        version=new.spec.version,
        message=new.message,
        message_id=parent.message_id,
        state=ProcessState.NEW,
        priority=parent.priority,
        quota=quota,
        usage=Usage(),
        epoch=0,
        created_at=to_datetime(at),
        parent_pid=parent.pid,
        parent_key=new.key,
        depth=parent.depth + 1,
    )


def _failure(child: ProcessControlBlock) -> str:
    reason = child.reason or "failed"
    text = child.error or f"it was {child.outcome}"
    return encode_error(SPAWN, ChildFailed(child.pid, child.capability, reason, text))
