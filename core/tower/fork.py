"""A fork: a process in a session of its own that shares another's first steps.

Its session starts with what had been said before, and with the working memory of its capability as
the shared steps left it. What `mission.random` and `mission.uuid` give differs from the original's,
for it comes from the pid.
"""

from __future__ import annotations

import uuid

import orjson

from ..chat.service import ChatService
from ..chat.text import MAX_MESSAGE, checked
from ..clock import now, to_datetime
from ..errors import Conflict, InvalidInput
from ..events.event import NewEvent
from ..events.log import EventLog
from ..identity import Caller, new_id
from ..memory.working import store_values
from ..storage.persistence import Row, Transaction
from .interrupts import CONFIRM
from .process import ProcessControlBlock, ProcessState, Usage
from .rewind import state_after
from .store import find_in_unit, insert_process, moved

MAX_STEPS = 100_000
MAX_MESSAGES = 200  # as many as a mission can read of its history


def forked(origin: ProcessControlBlock, steps: int, message: str | None) -> ProcessControlBlock:
    """The process that the fork will be, not stored yet.

    Raises:
        InvalidInput: the message, or a number of steps that no process has.
        Conflict: `origin` is a child, which has no turn of its own in its session.
    """
    if not 0 <= steps <= MAX_STEPS:
        raise InvalidInput("steps", f"must be between 0 and {MAX_STEPS}")
    if message is not None:
        checked("message", message, longest=MAX_MESSAGE)
    if origin.parent_pid is not None:
        raise Conflict(f"process {origin.pid} is a child of {origin.parent_pid}; fork that one")
    pid = new_id()
    return ProcessControlBlock(
        pid=pid,
        request_id=pid,
        session_id=str(uuid.uuid4()),
        user_id=origin.user_id,
        capability=origin.capability,
        version=origin.version,
        message=origin.message if message is None else message,
        message_id=0,  # known once it is stored
        state=ProcessState.NEW,
        priority=origin.priority,
        quota=origin.quota,
        usage=Usage(),
        epoch=1,  # its first run is a second one: it has a journal to read
        created_at=to_datetime(now()),
    )


async def store_fork(
    tx: Transaction,
    chat: ChatService,
    log: EventLog,
    caller: Caller,
    origin: ProcessControlBlock,
    fork: ProcessControlBlock,
    steps: int,
) -> ProcessControlBlock:
    """Inside a unit: the session with the earlier messages, the process with the first steps.

    Raises:
        InvalidInput: `origin` has not finished so many steps.
    """
    at = now()
    found = await find_in_unit(tx, origin.pid)
    if found is None:
        raise Conflict(f"process {origin.pid} has been cleaned up")
    row = found[1]
    session, opened = await chat.insert_session(
        tx, caller, fork.session_id, None, fork.capability, at
    )
    events = [opened]
    for said in await _earlier(tx, row["session_id"], origin.message_id):
        data = None if said["data"] is None else orjson.loads(said["data"])
        _, told = await chat.insert_message(
            tx, session.id, None, said["role"], said["content"], at, data
        )
        events.append(told)
    message_id, told = await chat.insert_message(tx, session.id, fork.pid, "user", fork.message, at)
    fork = fork.changed(message_id=message_id, created_at=to_datetime(at))
    fork, ready = moved(fork, ProcessState.READY)
    created = {
        "capability": fork.capability,
        "priority": fork.priority,
        "request_id": fork.request_id,
        "message_id": message_id,
        "forked_from": origin.pid,
        "steps": steps,
    }
    events += [told, NewEvent("process.created", created, fork.pid), ready]
    await insert_process(tx, fork, session.id, orjson.loads(row["input"]), at)
    copied = await _copy_steps(tx, origin.pid, fork.pid, steps)
    began = row["started_at"] or at
    until = max([began, *(step["created_at"] + step["duration"] for step in copied)])
    ids = {step["id"] for step in copied}
    held = await state_after(tx, origin, row["session_id"], ids, until)
    await store_values(tx, session.id, fork.capability, held, at)
    await log.append(tx, session.id, caller.user_id, events, at)
    return fork


async def _earlier(tx: Transaction, session: int, message_id: int) -> list[Row]:
    """What had been said before this message, oldest first; by turns, as a mission reads it."""
    rows = await tx.fetch_all(
        "SELECT m.role, m.content, m.data FROM message m LEFT JOIN process q ON q.pid = m.pid"
        " WHERE m.session_id = ? AND COALESCE(q.message_id, m.id) < ? AND m.deleted_at IS NULL"
        " ORDER BY COALESCE(q.message_id, m.id) DESC, m.id DESC LIMIT ?",
        (session, message_id, MAX_MESSAGES),
    )
    return rows[::-1]


async def _copy_steps(tx: Transaction, origin: str, fork: str, steps: int) -> list[Row]:
    """The original ones: their ids, when they began, how long they took."""
    copied = await tx.fetch_all(
        "SELECT id, created_at, duration FROM step WHERE process_id = ? AND status <> 'started'"
        " ORDER BY created_at, id LIMIT ?",
        (origin, steps),
    )
    if len(copied) < steps:
        raise InvalidInput("steps", f"the process has finished {len(copied)} steps")
    await tx.execute(
        "INSERT INTO step (process_id, key, kind, name, digest, status, attempt, output, error,"
        " large, size, created_at, duration, tokens_in, tokens_out, cost, input_changed)"
        " SELECT ?, key, kind, name, digest, status, attempt, output, error, large, size,"
        " created_at, duration, 0, 0, 0, input_changed FROM step"
        " WHERE process_id = ? AND status <> 'started' ORDER BY created_at, id LIMIT ?",
        (fork, origin, steps),
    )
    # A permission was given for one call: here it might be another.
    await tx.execute(
        "DELETE FROM step WHERE process_id = ? AND key LIKE ? AND output = ? AND NOT EXISTS"
        " (SELECT 1 FROM step c WHERE c.process_id = ? AND c.key || ? || c.digest = step.key)",
        (fork, f"%{CONFIRM}%", '"yes"', fork, CONFIRM),
    )
    await tx.execute(
        "INSERT INTO step_output (id, step_id, body) SELECT n.id, n.id, o.body FROM step n"
        " JOIN step s ON s.key = n.key AND s.process_id = ? JOIN step_output o ON o.id = s.id"
        " WHERE n.process_id = ? AND n.large",
        (origin, fork),
    )
    return copied
