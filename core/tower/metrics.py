"""The tower in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ..storage.persistence import Persistence
from .process import ProcessState
from .usage import total_usage

_ENDED = (ProcessState.TERMINATED, ProcessState.ZOMBIE)
_ACTIVE = tuple(state for state in ProcessState if state not in _ENDED)
_BY_STATE = (
    "SELECT state, COUNT(*) AS processes FROM process"  # noqa: S608
    f" WHERE state IN ({', '.join('?' * len(_ACTIVE))}) AND state <> 'terminated' GROUP BY state"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerMetrics:
    """Counts over all users; what has been removed since counts as terminated.

    States that no process is in are left out. `active_processes` are those that have not ended.
    """

    total_processes: int
    active_processes: int
    processes_by_state: dict[str, int]
    system_llm_calls: int
    system_tool_calls: int
    system_tokens_in: int
    system_tokens_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerSample:
    """The counts, and what this node has at work and in line, at one moment."""

    metrics: TowerMetrics
    running: int
    in_line: int
    taken_at: datetime


async def take_sample(persistence: Persistence, depth: tuple[int, int]) -> TowerSample:
    """`depth` is what the node has (at work, in line)."""
    running, in_line = depth
    return TowerSample(
        metrics=await read_metrics(persistence),
        running=running,
        in_line=in_line,
        taken_at=datetime.now(UTC),
    )


async def read_metrics(persistence: Persistence) -> TowerMetrics:
    """Reads no process that has ended: of these there are many."""
    used = await total_usage(persistence)
    rows = await persistence.fetch_all(_BY_STATE, _ACTIVE)
    by_state = {str(row["state"]): int(row["processes"]) for row in rows}
    active = sum(by_state.values())
    if used.processes > active:
        by_state[ProcessState.TERMINATED.value] = used.processes - active
    return TowerMetrics(
        total_processes=used.processes,
        active_processes=active,
        processes_by_state=by_state,
        system_llm_calls=used.llm_calls,
        system_tool_calls=used.tool_calls,
        system_tokens_in=used.tokens_in,
        system_tokens_out=used.tokens_out,
    )
