"""The process table: rows in, records out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ..chat.paging import MAX_PAGE, Listing, Window
from ..chat.records import Page
from ..clock import SECOND, Micros, from_datetime, maybe_datetime, to_datetime
from ..events.event import NewEvent
from ..storage.persistence import Persistence, Row, Transaction
from . import lifecycle
from .interrupt_store import open_questions
from .process import (
    CHILD,
    RETRIABLE,
    SLEEPING,
    Interrupt,
    Outcome,
    ProcessControlBlock,
    ProcessState,
    Quota,
    SchedulingPriority,
    Usage,
)
from .usage import count_process

_PROCESSES = (
    "SELECT p.*, s.public_id, r.content AS reply FROM process p"
    " JOIN session s ON s.id = p.session_id"
    " LEFT JOIN message r ON r.id = p.reply_message_id"
)
_BELOW = (
    "WITH RECURSIVE tree(pid) AS (SELECT c.pid FROM process c WHERE c.parent_pid = ?"  # noqa: S608
    " UNION ALL SELECT c.pid FROM process c JOIN tree t ON c.parent_pid = t.pid) "
    + _PROCESSES
    + " JOIN tree t ON t.pid = p.pid WHERE p.state NOT IN ('terminated', 'zombie')"
    " ORDER BY p.depth DESC, p.pid"
)
_ANYONES = (
    " WHERE p.pid = ? OR p.request_id = ?"
    " OR p.pid = (SELECT i.process_id FROM interrupt i WHERE i.id = ?)"
    " ORDER BY CASE WHEN p.pid = ? THEN 0 WHEN p.request_id = ? THEN 2 ELSE 1 END, p.pid DESC"
    " LIMIT 1"
)
NEWEST = Listing(
    select=_PROCESSES,
    source="process p",
    row="p.pid",
    key=("p.pid",),
    kinds=(str,),
    descending=True,
)


class ProcessStore:
    """Reads of processes, one user's own."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence

    async def find(self, user_id: str, id: str) -> ProcessControlBlock | None:
        """By pid or request id; where one process's request id is another's pid, by pid."""
        row = await self._persistence.fetch_one(
            _PROCESSES + " WHERE p.user_id = ? AND (p.pid = ? OR p.request_id = ?)"
            " ORDER BY CASE WHEN p.pid = ? THEN 0 ELSE 1 END LIMIT 1",
            (user_id, id, id, id),
        )
        return (await self._complete([row]))[0] if row else None

    async def find_anyones(self, id: str) -> ProcessControlBlock | None:
        """Whoever's, by pid, by the id of one of its questions, or, the newest, by request id:
        that may be anything, so it passes for neither of the others."""
        row = await self._persistence.fetch_one(_PROCESSES + _ANYONES, (id,) * 5)
        return (await self._complete([row]))[0] if row else None

    async def find_many(self, user_id: str, pids: Sequence[str]) -> dict[str, ProcessControlBlock]:
        marks = ", ".join("?" * len(pids))
        rows = await self._persistence.fetch_all(
            f"{_PROCESSES} WHERE p.user_id = ? AND p.pid IN ({marks})",
            (user_id, *pids),
        )
        return {process.pid: process for process in await self._complete(rows)}

    async def children(
        self, user_id: str, pids: Sequence[str], first: int, after: str | None
    ) -> dict[str, list[ProcessControlBlock]]:
        """The first children of each of these processes that follow the pid `after`, by pid."""
        marks = ", ".join("?" * len(pids))
        rows = await self._persistence.fetch_all(
            f"{_PROCESSES} JOIN (SELECT c.pid, ROW_NUMBER() OVER"  # noqa: S608
            " (PARTITION BY c.parent_pid ORDER BY c.pid) AS place FROM process c"
            f" WHERE c.user_id = ? AND c.parent_pid IN ({marks}) AND c.pid > ?) n ON n.pid = p.pid"
            " WHERE n.place <= ? ORDER BY p.pid",
            (user_id, *pids, after or "", min(first, MAX_PAGE)),
        )
        found: dict[str, list[ProcessControlBlock]] = {}
        for process in await self._complete(rows):
            found.setdefault(process.parent_pid or "", []).append(process)
        return found

    async def list_processes(
        self, user_id: str, session_id: str | None, window: Window
    ) -> Page[ProcessControlBlock]:
        """Newest first: pids are ordered by time. None of a session that is not the user's."""
        column = "p.user_id"
        value: str | int = user_id
        if session_id is not None:
            session = await self._persistence.fetch_one(
                "SELECT id FROM session WHERE user_id = ? AND public_id = ?", (user_id, session_id)
            )
            column = "p.session_id"
            value = session["id"] if session else 0
        found = await NEWEST.page(self._persistence, f"{column} = ?", (value,), window)
        processes = {process.pid: process for process in await self._complete(found.items)}
        return found.of(lambda row: processes[row["pid"]])

    async def list_of_sessions(
        self, user_id: str, sessions: Sequence[int], window: Window
    ) -> dict[int, Page[ProcessControlBlock]]:
        """The same for several sessions at once, by number."""
        found = await NEWEST.pages(
            self._persistence, "p.session_id", sessions, "p.user_id = ?", (user_id,), window
        )
        rows = [row for page in found.values() for row in page.items]
        processes = {process.pid: process for process in await self._complete(rows)}
        return {
            session: page.of(lambda row: processes[row["pid"]]) for session, page in found.items()
        }

    async def unfinished(self, state: ProcessState) -> list[ProcessControlBlock]:
        """All in this state (any but `terminated`), whoever's, in the order of their messages."""
        rows = await self._persistence.fetch_all(
            _PROCESSES + " WHERE p.state = ? AND p.state <> 'terminated' ORDER BY p.message_id",
            (state,),
        )
        return [process_from(row) for row in rows]

    async def pids_in(self, state: ProcessState) -> list[str]:
        """All in this state (any but `terminated`), whoever's."""
        sql = "SELECT pid FROM process WHERE state = ? AND state <> 'terminated' ORDER BY pid"
        rows = await self._persistence.fetch_all(sql, (state,))
        return [row["pid"] for row in rows]

    async def ready_beside(self, process: ProcessControlBlock) -> list[ProcessControlBlock]:
        """Of its parent and its children, those that are to be put in line."""
        rows = await self._persistence.fetch_all(
            _PROCESSES + " WHERE p.state = ? AND (p.pid = ? OR p.parent_pid = ?)",
            (ProcessState.READY, process.parent_pid or "", process.pid),
        )
        return [process_from(row) for row in rows]

    async def root_of(self, process: ProcessControlBlock) -> ProcessControlBlock:
        """The process that its user has asked for: itself, or the topmost above it."""
        while process.parent_pid is not None:
            parent = await self.find(process.user_id, process.parent_pid)
            if parent is None:
                break
            process = parent
        return process

    async def retriable(self) -> list[ProcessControlBlock]:
        """Every process that is blocked for want of a capability, whoever's."""
        marks = ", ".join("?" * len(RETRIABLE))
        rows = await self._persistence.fetch_all(
            f"{_PROCESSES} WHERE p.state = ? AND p.state <> 'terminated'"
            f" AND p.reason IN ({marks}) ORDER BY p.message_id",
            (ProcessState.BLOCKED, *RETRIABLE),
        )
        return [process_from(row) for row in rows]

    async def _complete(self, rows: Sequence[Row]) -> Sequence[ProcessControlBlock]:
        asking = [row["pid"] for row in rows if row["state"] in ("waiting", "running", "blocked")]
        if not asking:
            return [process_from(row) for row in rows]
        interrupts = await open_questions(self._persistence, asking)
        found = [process_from(row, interrupts.get(row["pid"], ())) for row in rows]
        stuck = await stuck_below(self._persistence, [p.pid for p in found if p.awaits_child])
        return [each.changed(error=stuck.get(each.pid, each.error)) for each in found]


async def find_in_unit(tx: Transaction, pid: str) -> tuple[ProcessControlBlock, Row] | None:
    """The process as this unit sees it, with the row's columns that the record leaves out.

    Takes its session: until the unit ends, no other changes any of the session's processes.
    """
    await tx.lock(
        "SELECT 1 FROM session WHERE id = (SELECT session_id FROM process WHERE pid = ?)", (pid,)
    )
    row = await tx.fetch_one(_PROCESSES + " WHERE p.pid = ?", (pid,))
    return (process_from(row), row) if row else None


async def unfinished_in_unit(tx: Transaction, session: int) -> list[ProcessControlBlock]:
    """The session's requests that have not ended, in the order of their messages."""
    rows = await tx.fetch_all(
        _PROCESSES + " WHERE p.session_id = ? AND p.state NOT IN ('terminated', 'zombie')"
        " AND p.parent_pid IS NULL"
        " ORDER BY p.message_id, p.pid",
        (session,),
    )
    return [process_from(row) for row in rows]


async def stuck_below(reader: Persistence | Transaction, pids: Sequence[str]) -> dict[str, str]:
    """Of these processes, those with a blocked one below that no end of a child takes up; why."""
    if not pids:
        return {}
    marks = ", ".join("?" * len(pids))
    rows = await reader.fetch_all(
        "WITH RECURSIVE tree(root, pid) AS ("  # noqa: S608
        f"SELECT c.parent_pid, c.pid FROM process c WHERE c.parent_pid IN ({marks})"
        " UNION ALL SELECT t.root, c.pid FROM process c JOIN tree t ON c.parent_pid = t.pid)"
        " SELECT t.root, p.pid, p.capability, p.reason, p.error FROM tree t"
        " CROSS JOIN process p WHERE p.pid = t.pid AND p.state = ?"
        " AND p.reason NOT IN (?, ?) ORDER BY p.pid DESC",
        (*pids, ProcessState.BLOCKED, CHILD, SLEEPING),
    )
    return {
        row["root"]: f"it waits for process {row['pid']} ({row['capability']}), which is blocked"
        f" ({row['reason']}): {row['error']}"
        for row in rows
    }


async def unfinished_below(tx: Transaction, pid: str) -> list[ProcessControlBlock]:
    """Inside a unit: the processes that this one has spawned, and they, the deepest first."""
    rows = await tx.fetch_all(_BELOW, (pid,))
    return [process_from(row) for row in rows]


async def insert_process(
    tx: Transaction,
    process: ProcessControlBlock,
    stream: int,
    input: dict[str, Any],
    at: Micros,
) -> None:
    """Inside a unit: a new process. `input` is what every run of it reads at its start."""
    await tx.execute(
        "INSERT INTO process (pid, session_id, user_id, request_id, parent_pid, parent_key, depth,"
        " capability, version, state, priority, epoch, message, input, quota, message_id,"
        " llm_calls, tool_calls, agent_hops, iterations, steps, tokens_in, tokens_out, cost,"
        " elapsed, restarts, restarted_at, divergences, first_seq, created_at, started_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,"
        " 0, (SELECT last_seq + 1 FROM stream WHERE id = ?), ?, ?)",
        (
            process.pid,
            stream,
            process.user_id,
            None if process.request_id == process.pid else process.request_id,
            process.parent_pid,
            process.parent_key,
            process.depth,
            process.capability,
            process.version,
            str(process.state),  # of any other type, sqlite3 first looks for a way to adapt it
            str(process.priority),
            process.epoch,
            process.message,
            orjson.dumps(input).decode(),
            process.quota.as_json(),
            process.message_id,
            stream,
            at,
            at if process.state is ProcessState.RUNNING else None,
        ),
    )
    await count_process(tx, process.user_id, stream, at)


def moved(
    process: ProcessControlBlock, after: ProcessState, reason: str | None = None, **changes: Any
) -> tuple[ProcessControlBlock, NewEvent]:
    """The record in its next state and the event that tells of it; illegal moves raise."""
    lifecycle.check(process.state, after)
    payload: dict[str, Any] = {"from": process.state, "to": after}
    if reason is not None:
        payload["reason"] = reason
    event = NewEvent("process.state_changed", payload, process.pid)
    return process.changed(state=after, **changes), event


async def save_state(
    tx: Transaction, process: ProcessControlBlock, before: ProcessState, epoch: int
) -> bool:
    """Inside a unit: compare and set. False when the row is elsewhere by now."""
    changed = await tx.execute(
        "UPDATE process SET state = ?, epoch = ?, outcome = ?, reason = ?, error = ?,"
        " reply_message_id = ?, started_at = ?, completed_at = ?"
        " WHERE pid = ? AND state = ? AND epoch = ?",
        (
            str(process.state),
            process.epoch,
            process.outcome and str(process.outcome),
            process.reason,
            process.error,
            process.reply_message_id,
            _micros(process.started_at),
            _micros(process.completed_at),
            process.pid,
            str(before),
            epoch,
        ),
    )
    return changed == 1


async def save_quota(tx: Transaction, process: ProcessControlBlock) -> None:
    """Inside a unit: what the process may use from now on."""
    await tx.execute(
        "UPDATE process SET quota = ? WHERE pid = ?",
        (process.quota.as_json(), process.pid),
    )


def _micros(value: Any) -> Micros | None:
    return None if value is None else from_datetime(value)


def process_from(row: Row, interrupts: tuple[Interrupt, ...] = ()) -> ProcessControlBlock:
    return ProcessControlBlock(
        pid=row["pid"],
        request_id=row["request_id"] or row["pid"],
        session_id=row["public_id"],
        user_id=row["user_id"],
        capability=row["capability"],
        version=row["version"],
        message=row["message"],
        message_id=row["message_id"],
        state=ProcessState(row["state"]),
        priority=SchedulingPriority(row["priority"]),
        stage=row["stage"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        reason=row["reason"],
        error=row["error"],
        reply=row["reply"] if row["result"] is None else orjson.loads(row["result"])["text"],
        reply_message_id=row["reply_message_id"],
        quota=Quota.model_validate_json(row["quota"]),
        usage=Usage(
            llm_calls=row["llm_calls"],
            tool_calls=row["tool_calls"],
            agent_hops=row["agent_hops"],
            iterations=row["iterations"],
            steps=row["steps"],
            tokens_in=row["tokens_in"],
            tokens_out=row["tokens_out"],
            cost=row["cost"],
            elapsed_seconds=row["elapsed"] / SECOND,
        ),
        epoch=row["epoch"],
        created_at=to_datetime(row["created_at"]),
        started_at=maybe_datetime(row["started_at"]),
        completed_at=maybe_datetime(row["completed_at"]),
        parent_pid=row["parent_pid"],
        parent_key=row["parent_key"],
        depth=row["depth"],
        interrupts=interrupts,
    )
