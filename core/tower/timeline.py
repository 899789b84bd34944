"""The timeline of a process: its steps as they are shown, without what they gave."""

from __future__ import annotations

from collections.abc import Sequence

from ..clock import SECOND, to_datetime
from ..errors import InvalidInput
from ..storage.persistence import Persistence, Row
from .codec import readable_error
from .process import Step

_COLUMNS = (
    "key, kind, name, status, attempt, size, input_changed, duration, tokens_in, tokens_out,"
    " model, cost, error, created_at"
)
_STEPS = f"SELECT {_COLUMNS} FROM step WHERE process_id = ?"  # noqa: S608


async def list_steps(
    persistence: Persistence, pid: str, first: int, after: str | None = None
) -> list[Step]:
    """Steps in the order in which they began, at most `first`, those after the one of key `after`.

    Raises:
        InvalidInput: the process has no step `after`.
    """
    if after is None:
        rows = await persistence.fetch_all(
            f"{_STEPS} ORDER BY created_at, id LIMIT ?", (pid, first)
        )
        return [_step(pid, row) for row in rows]
    last = await persistence.fetch_one(
        "SELECT created_at, id FROM step WHERE process_id = ? AND key = ?", (pid, after)
    )
    if last is None:
        raise InvalidInput("after", "is not the key of a step of this process")
    rows = await persistence.fetch_all(
        f"{_STEPS} AND (created_at > ? OR (created_at = ? AND id > ?))"
        " ORDER BY created_at, id LIMIT ?",
        (pid, last["created_at"], last["created_at"], last["id"], first),
    )
    return [_step(pid, row) for row in rows]


async def list_steps_of(
    persistence: Persistence, user_id: str, pids: Sequence[str], first: int, after: str | None
) -> dict[str, list[Step]]:
    """The first steps of each of those processes that are the user's, by pid, in one query.

    With `after`, those that follow the process's step of that key; a process that has no such
    step is left out.
    """
    marks = ", ".join("?" * len(pids))
    since = (
        " JOIN step l ON l.process_id = s.process_id AND l.key = ?"
        " AND (s.created_at, s.id) >= (l.created_at, l.id)"
    )
    skipped = () if after is None else (after,)
    rows = await persistence.fetch_all(
        f"SELECT n.process_id, {_COLUMNS} FROM (SELECT s.*, ROW_NUMBER() OVER"  # noqa: S608
        " (PARTITION BY s.process_id ORDER BY s.created_at, s.id) AS place"
        f" FROM step s{since if skipped else ''} WHERE s.process_id IN"
        f" (SELECT p.pid FROM process p WHERE p.user_id = ? AND p.pid IN ({marks}))) n"
        " WHERE n.place <= ? ORDER BY n.process_id, n.place",
        (*skipped, user_id, *pids, first + len(skipped)),
    )
    found: dict[str, list[Step]] = {}
    for row in rows:
        found.setdefault(row["process_id"], []).append(_step(row["process_id"], row))
    return {pid: steps[len(skipped) :] for pid, steps in found.items()}


def _step(pid: str, row: Row) -> Step:
    return Step(
        pid=pid,
        key=row["key"],
        kind=row["kind"],
        name=row["name"],
        status=row["status"],
        attempt=row["attempt"],
        size=row["size"],
        input_changed=bool(row["input_changed"]),
        duration=row["duration"] / SECOND,
        tokens_in=row["tokens_in"],
        tokens_out=row["tokens_out"],
        model=row["model"],
        cost=row["cost"],
        error=None if row["error"] is None else readable_error(row["error"]),
        created_at=to_datetime(row["created_at"]),
    )
