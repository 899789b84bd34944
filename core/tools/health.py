"""How the tools are doing: judged by their calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal

from ..clock import SECOND, Micros, maybe_datetime, now, to_datetime
from ..errors import InvalidInput
from ..storage.persistence import Persistence, Row
from .calls import HOUR, MINUTE, SLOW, SLOWEST, SPANS
from .spec import ToolRegistry

HealthStatus = Literal["healthy", "degraded", "unhealthy", "unknown"]
ORDER: tuple[HealthStatus, ...] = ("unhealthy", "degraded", "healthy", "unknown")

FEWEST_CALLS = 5
SUCCESS_RATES = (0.95, 0.80)  # healthy from, degraded from
LATENCIES = (2000.0, 5000.0)  # milliseconds: healthy to, degraded to
MAX_HOURS = 8760

_WAITING = (
    "SELECT tool, 1 AS calls, CASE WHEN status = 'success' THEN 1 ELSE 0 END AS successes,"
    " CASE WHEN status IN ('error', 'timeout') THEN 1 ELSE 0 END AS failures,"
    " duration, duration AS longest, started_at AS last_at FROM tool_call WHERE started_at >= ?"
)
_WINDOWS = (
    "SELECT tool, calls, successes, failures, duration, longest, last_at FROM tool_window"
    " WHERE span = ? AND start >= ? AND start < ?"
)
_SUMS = ", ".join(
    f"CAST(SUM({name}) AS BIGINT) AS {name}"
    for name in ("calls", "successes", "failures", "duration")
)
_SLOWEST = (
    "SELECT tool, duration, started_at FROM (SELECT id, tool, duration, started_at FROM slow_call"
    " WHERE started_at >= ? UNION ALL SELECT id, tool, duration, started_at FROM tool_call"
    " WHERE started_at >= ? AND duration >= ?) c ORDER BY duration DESC, id DESC LIMIT ?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolHealth:
    """One tool in one window, which begins with a whole minute.

    `success_rate` is 0 to 1; `recent_errors` counts errors and timeouts. A call that was refused
    before it was made is none.
    """

    tool_name: str
    status: HealthStatus
    success_rate: float
    avg_latency_ms: float
    total_calls: int
    recent_errors: int
    issues: list[str]
    recommendations: list[str]
    checked_at: datetime
    max_latency_ms: float = 0.0
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
    """Judges tools by the calls of the last hours, as they are rolled up: whatever is asked for,
    no history is read."""

    persistence: Persistence
    tools: ToolRegistry = field(repr=False)

    async def summary(self, hours: int = 24) -> HealthSummary:
        """All tools, by name, over 1 to 8760 hours."""
        since = begin(hours)
        sql, params = _counts(since)
        rows = await self.persistence.fetch_all(sql, params)
        called = {str(row["tool"]): row for row in rows}
        names = sorted({*called, *(spec.name for spec in self.tools)})
        judged = tuple(_judged(name, called.get(name)) for name in names)
        return HealthSummary(
            overall_status=worst(tool.status for tool in judged),
            tools=judged,
            slow_executions=await self._slowest(since),
            checked_at=datetime.now(UTC),
        )

    async def tool(self, name: str, hours: int = 1) -> ToolHealth:
        """One tool; one that nobody knows is `unknown` too."""
        sql, params = _counts(begin(hours), name)
        return _judged(name, await self.persistence.fetch_one(sql, params))

    async def _slowest(self, since: Micros) -> list[SlowExecution]:
        rows = await self.persistence.fetch_all(_SLOWEST, (since, since, SLOW, SLOWEST))
        return [
            SlowExecution(
                tool_name=row["tool"],
                execution_time_ms=row["duration"] * 1000 // SECOND,
                recorded_at=to_datetime(row["started_at"]),
            )
            for row in rows
        ]


def begin(hours: int) -> Micros:
    """The whole minute in which a window of so many hours, up to now, begins.

    Raises:
        InvalidInput: not 1 to 8760 hours.
    """
    if not 1 <= hours <= MAX_HOURS:
        raise InvalidInput("hours", f"is {hours}; it must be between 1 and {MAX_HOURS}")
    return (now() - hours * HOUR) // MINUTE * MINUTE


def _counts(since: Micros, tool: str | None = None) -> tuple[str, list[Micros | str]]:
    """Sums by tool in one statement, which sees each call in one place: whole days and hours as
    such, the rest by minutes, and what is not rolled up yet."""
    own = "" if tool is None else " AND tool = ?"
    parts = [*((_WINDOWS, [*window]) for window in _windows(since, now())), (_WAITING, [since])]
    params: list[Micros | str] = []
    for _, values in parts:
        params += [*values, *([] if tool is None else [tool])]
    calls = " UNION ALL ".join(sql + own for sql, _ in parts)
    sql = (
        f"SELECT tool, {_SUMS}, MAX(longest) AS longest, MAX(last_at) AS last_at"  # noqa: S608
        f" FROM ({calls}) c GROUP BY tool"
    )
    return sql, params


def _windows(since: Micros, at: Micros) -> Iterator[tuple[Micros, Micros, Micros]]:
    """(span, from, to) of what covers the time since a whole minute, whatever begins after `at`
    too: of each span as many as the next longer one leaves over."""
    end = at + MAX_HOURS * HOUR
    for span, longer in pairwise(SPANS):
        first = min(-(-since // longer) * longer, end)
        last = max(first, at // longer * longer)
        yield span, since, first
        yield span, last, end
        since, end = first, last
    yield SPANS[-1], since, end


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
        recent_errors=int(row["failures"]) if row is not None else 0,
        issues=issues,
        recommendations=advice,
        checked_at=datetime.now(UTC),
        max_latency_ms=int(row["longest"]) * 1000 / SECOND if row is not None else 0.0,
        last_used=maybe_datetime(row["last_at"]) if row is not None else None,
    )


def _grade(healthy: bool, degraded: bool) -> HealthStatus:
    if healthy:
        return "healthy"
    return "degraded" if degraded else "unhealthy"
