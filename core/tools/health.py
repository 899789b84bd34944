"""How the tools are doing: judged by their calls, as the journal holds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from ..clock import SECOND, maybe_datetime, now, to_datetime
from ..storage.persistence import Persistence, Row
from .spec import ToolRegistry

HealthStatus = Literal["healthy", "degraded", "unhealthy", "unknown"]
ORDER: tuple[HealthStatus, ...] = ("unhealthy", "degraded", "healthy", "unknown")

FEWEST_CALLS = 5
SUCCESS_RATES = (0.95, 0.80)  # healthy from, degraded from
LATENCIES = (2000.0, 5000.0)  # milliseconds: healthy to, degraded to
SLOW = 5 * SECOND
SLOWEST = 10
NEWEST_STEPS = 100_000
"""How far back the journal is read; a busy server's window may be shorter than asked for."""

_CALLS = (
    " FROM step WHERE id > (SELECT COALESCE(MAX(id), 0) - ? FROM step)"
    " AND kind = 'tool' AND status <> 'started' AND created_at >= ?"
)
_BY_TOOL = (
    "SELECT name, COUNT(*) AS calls, SUM(duration) AS duration, MAX(created_at) AS last_used,"
    " SUM(CASE WHEN status = 'completed' THEN 1 ELSE 0 END) AS successes" + _CALLS
)
_SLOWEST = (
    "SELECT name, duration, created_at" + _CALLS + " AND duration >= ?"
    " ORDER BY duration DESC, id DESC LIMIT ?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolHealth:
    """One tool in one window. `recent_errors` counts calls that did not succeed."""

    tool_name: str
    status: HealthStatus
    success_rate: float
    avg_latency_ms: float
    total_calls: int
    recent_errors: int
    issues: list[str]
    recommendations: list[str]
    checked_at: datetime
    last_used: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowExecution:
    tool_name: str
    execution_time_ms: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSummary:
    """Every tool that is registered or was called, and the slowest calls."""

    overall_status: HealthStatus
    tools: tuple[ToolHealth, ...]
    slow_executions: list[SlowExecution]
    checked_at: datetime

    @property
    def summary(self) -> dict[HealthStatus, int]:
        counts: dict[HealthStatus, int] = {
            "healthy": 0,
            "degraded": 0,
            "unhealthy": 0,
            "unknown": 0,
        }
        for tool in self.tools:
            counts[tool.status] += 1
        return counts

    @property
    def tools_needing_attention(self) -> list[ToolHealth]:
        return [tool for tool in self.tools if tool.status != "healthy"]


@dataclass(frozen=True, slots=True)
class ToolHealthService:
    """Judges tools by what the journal tells of the last hours."""

    persistence: Persistence
    tools: ToolRegistry = field(repr=False)

    async def summary(self, hours: int = 24) -> HealthSummary:
        """All tools, by name."""
        since = now() - hours * 3600 * SECOND
        rows = await self.persistence.fetch_all(_BY_TOOL + " GROUP BY name", (NEWEST_STEPS, since))
        slow = await self.persistence.fetch_all(_SLOWEST, (NEWEST_STEPS, since, SLOW, SLOWEST))
        called = {str(row["name"]): row for row in rows}
        names = sorted({*called, *(spec.name for spec in self.tools)})
        judged = tuple(_judged(name, called.get(name)) for name in names)
        return HealthSummary(
            overall_status=worst(tool.status for tool in judged),
            tools=judged,
            slow_executions=[
                SlowExecution(
                    tool_name=row["name"],
                    execution_time_ms=row["duration"] * 1000 // SECOND,
                    recorded_at=to_datetime(row["created_at"]),
                )
                for row in slow
            ],
            checked_at=datetime.now(UTC),
        )

    async def tool(self, name: str, hours: int = 1) -> ToolHealth:
        """One tool; one that nobody knows is `unknown` too."""
        since = now() - hours * 3600 * SECOND
        row = await self.persistence.fetch_one(
            _BY_TOOL + " AND name = ? GROUP BY name", (NEWEST_STEPS, since, name)
        )
        return _judged(name, row)


def worst(statuses: Iterable[HealthStatus]) -> HealthStatus:
    """Of what is known; `unknown` when nothing is."""
    found = set(statuses)
    for status in ORDER:
        if status in found:
            return status
    return "unknown"


def _judged(name: str, row: Row | None) -> ToolHealth:
    calls = int(row["calls"]) if row is not None else 0
    successes = int(row["successes"]) if row is not None else 0
    rate = successes / calls if calls else 0.0
    latency = int(row["duration"]) / calls * 1000 / SECOND if row is not None and calls else 0.0
    issues: list[str] = []
    advice: list[str] = []
    status: HealthStatus = "unknown"
    if calls < FEWEST_CALLS:
        issues.append(f"{calls} calls are too few to judge by; it takes {FEWEST_CALLS}")
    else:
        by_rate = _grade(rate >= SUCCESS_RATES[0], rate >= SUCCESS_RATES[1])
        by_latency = _grade(latency <= LATENCIES[0], latency <= LATENCIES[1])
        status = worst((by_rate, by_latency))
        if by_rate != "healthy":
            issues.append(f"only {rate:.1%} of its calls succeed")
            advice.append("read the errors of its last calls")
        if by_latency != "healthy":
            issues.append(f"a call takes {latency:.0f} ms on average")
            advice.append("look for what it waits for, or give it a shorter timeout")
    return ToolHealth(
        tool_name=name,
        status=status,
        success_rate=rate,
        avg_latency_ms=latency,
        total_calls=calls,
        recent_errors=calls - successes,
        issues=issues,
        recommendations=advice,
        checked_at=datetime.now(UTC),
        last_used=maybe_datetime(row["last_used"]) if row is not None else None,
    )


def _grade(healthy: bool, degraded: bool) -> HealthStatus:
    if healthy:
        return "healthy"
    return "degraded" if degraded else "unhealthy"
