"""The tower in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from ..storage.persistence import Persistence

_BY_STATE = (
    "SELECT CASE WHEN state = 'zombie' THEN 'terminated' ELSE state END AS seen,"
    " COUNT(*) AS processes, SUM(llm_calls) AS llm_calls, SUM(tool_calls) AS tool_calls,"
    " SUM(tokens_in) AS tokens_in, SUM(tokens_out) AS tokens_out FROM process GROUP BY seen"
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
    """Counted from the processes that are stored: what was removed for good is not in it."""
    rows = await persistence.fetch_all(_BY_STATE)
    by_state = {str(row["seen"]): int(row["processes"]) for row in rows}
    total = sum(by_state.values())

    def summed(column: str) -> int:
        return sum(int(row[column]) for row in rows)

    return TowerMetrics(
        total_processes=total,
        active_processes=total - by_state.get("terminated", 0),
        processes_by_state=by_state,
        system_llm_calls=summed("llm_calls"),
        system_tool_calls=summed("tool_calls"),
        system_tokens_in=summed("tokens_in"),
        system_tokens_out=summed("tokens_out"),
    )
