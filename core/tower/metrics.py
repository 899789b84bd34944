"""The tower in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from ..storage.persistence import Persistence
from .usage import total_usage

_BY_STATE = (
    "SELECT CASE WHEN state = 'zombie' THEN 'terminated' ELSE state END AS seen,"
    " COUNT(*) AS processes FROM process GROUP BY 1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerMetrics:
    """Counts over all users. States that no process is in are left out.

    `active_processes` are those that have not ended.
    """

    total_processes: int
    active_processes: int
    processes_by_state: dict[str, int]
    system_llm_calls: int
    system_tool_calls: int
    system_tokens_in: int
    system_tokens_out: int


async def read_metrics(persistence: Persistence) -> TowerMetrics:
    """Totals count what has been removed since; the states are those of what is stored."""
    rows = await persistence.fetch_all(_BY_STATE)
    by_state = {str(row["seen"]): int(row["processes"]) for row in rows}
    used = await total_usage(persistence)
    return TowerMetrics(
        total_processes=used.processes,
        active_processes=sum(by_state.values()) - by_state.get("terminated", 0),
        processes_by_state=by_state,
        system_llm_calls=used.llm_calls,
        system_tool_calls=used.tool_calls,
        system_tokens_in=used.tokens_in,
        system_tokens_out=used.tokens_out,
    )
