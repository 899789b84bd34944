"""The journal of one process: what its steps gave, to be found again by key."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from ..clock import SECOND, Micros, now
from ..errors import ToolFailed, Unavailable
from ..identity import new_id
from ..storage.persistence import Persistence, Row, Transaction
from ..tools.calls import FinishedCall, add_call
from ..tools.spec import ToolResult
from .codec import encode_error
from .process import DIVERGED
from .suspension import Blocked

LARGE = 64 * 1024  # characters; above it an output lies in its own table
StepStatus = Literal["started", "completed", "failed"]


@dataclass(slots=True)
class Record:
    """One step as it is stored, but for what models have taken (`Tab`). `duration` is in
    microseconds; `output` and `error` are JSON."""

    key: str
    kind: str
    name: str
    digest: str
    status: StepStatus
    created_at: Micros
    attempt: int = 1
    output: str | None = None
    error: str | None = None
    duration: Micros = 0
    input_changed: bool = False


class Journal:
    """The steps of one process, in memory for the length of a run."""

    def __init__(
        self, records: Sequence[Record] = (), pending: dict[str, str] | None = None
    ) -> None:
        self._records = {record.key: record for record in records}
        self._pending = pending or {}

    def match(self, key: str, kind: str, name: str) -> Record | None:
        """What an earlier run recorded here, None when this is new.

        Raises:
            Blocked: `diverged`: the earlier run did something else at this point.
        """
        record = self._records.get(key)
        if record is not None and (record.kind, record.name) != (kind, name):
            raise Blocked(
                DIVERGED,
                f"at step {key} the journal has {record.kind} '{record.name}', but the"
                f" orchestrator now asks for {kind} '{name}'; bring back the version that the"
                " process started with, then resume it",
            )
        return record

    def began(self, key: str) -> Micros | None:
        """When an earlier run first began this step."""
        record = self._records.get(key)
        return record.created_at if record else None

    def add(self, record: Record) -> None:
        self._records[record.key] = record

    def is_asked(self, key: str) -> bool:
        """Whether a question was asked here, answered or not."""
        return key in self._records or key in self._pending

    def pending(self, key: str) -> str | None:
        """The id of the question asked here that is still open."""
        return self._pending.get(key)


async def load_journal(persistence: Persistence, pid: str) -> Journal:
    """Everything an earlier run of the process left behind."""
    # Questions first: one that is answered between the two reads is then found as a step.
    questions = await persistence.fetch_all(
        "SELECT id, key FROM interrupt WHERE process_id = ? AND status = 'pending'", (pid,)
    )
    rows = await persistence.fetch_all(
        "SELECT s.key, s.kind, s.name, s.digest, s.status, s.attempt, s.large, s.output, s.error,"
        " s.created_at, s.input_changed, o.body FROM step s"
        " LEFT JOIN step_output o ON o.id = s.id WHERE s.process_id = ?",
        (pid,),
    )
    return Journal([_record(row) for row in rows], {row["key"]: row["id"] for row in questions})


async def mark_input_changed(tx: Transaction, pid: str, key: str) -> None:
    """Inside a unit: a replay has asked for this step with another input than the first run."""
    await tx.execute(
        "UPDATE step SET input_changed = ? WHERE process_id = ? AND key = ?", (True, pid, key)
    )


async def store_record(tx: Transaction, pid: str | None, record: Record) -> None:
    """Inside a unit: the step, in place of an earlier attempt's; what that has taken it keeps."""
    large = record.output is not None and len(record.output) > LARGE
    row = await tx.fetch_one(
        "INSERT INTO step (process_id, key, kind, name, digest, status, attempt, output, error,"
        " large, size, created_at, duration, input_changed, tokens_in, tokens_out, cost)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)"
        " ON CONFLICT (process_id, key) DO UPDATE SET digest = excluded.digest,"
        " status = excluded.status,"
        " attempt = excluded.attempt, output = excluded.output, error = excluded.error,"
        " large = excluded.large, size = excluded.size, duration = excluded.duration,"
        " input_changed = excluded.input_changed RETURNING id",
        (
            pid,
            record.key,
            record.kind,
            record.name,
            record.digest,
            record.status,
            record.attempt,
            None if large else record.output,
            record.error,
            large,
            len(record.output or ""),
            record.created_at,
            record.duration,
            record.input_changed,
        ),
    )
    if large and row is not None:
        await tx.execute(
            "INSERT INTO step_output (id, step_id, body) VALUES (?, ?, ?)",
            (row["id"], row["id"], record.output),
        )


def outside_recorder(persistence: Persistence) -> Callable[[ToolResult], Awaitable[None]]:
    """Stores calls of tools that no process made, for their health. Nothing while it is closed."""

    async def record(result: ToolResult) -> None:
        duration = int(result.duration * SECOND)
        error = (
            None
            if result.error is None
            else encode_error(
                result.tool, ToolFailed(result.tool, result.status, result.error, result.foreign)
            )
        )
        step = Record(
            key=new_id(),
            kind="tool",
            name=result.tool[:255],
            digest="",
            status="completed" if error is None else "failed",
            created_at=now() - duration,
            error=error,
            duration=duration,
        )
        call = FinishedCall(step.name, result.status, step.created_at, duration)

        async def unit(tx: Transaction) -> None:
            await store_record(tx, None, step)
            await add_call(tx, call)

        with contextlib.suppress(Unavailable):
            await persistence.write(unit)

    return record


def _record(row: Row) -> Record:
    return Record(
        key=row["key"],
        kind=row["kind"],
        name=row["name"],
        digest=row["digest"],
        status=cast(StepStatus, row["status"]),
        created_at=row["created_at"],
        attempt=row["attempt"],
        output=row["body"] if row["large"] else row["output"],
        error=row["error"],
        input_changed=bool(row["input_changed"]),
    )
