"""The governance dashboard as a page: no scripts, every value escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ...core.tools.health import HealthSummary, ToolHealth

MEMORY_LAYERS = (
    ("L1", "canonical: sessions, messages, processes", "active", "database"),
    ("L2", "events: one log for each session", "active", "database"),
    ("L3", "semantic: found by meaning", "inactive", "none"),
    ("L4", "working: state of a session", "inactive", "none"),
    ("L5", "graph: entities and how they relate", "inactive", "none"),
    ("L6", "skills: what worked before", "inactive", "none"),
    ("L7", "meta: health of the tools", "active", "database"),
)
"""Name, what it holds, status, backend; until the layers report themselves."""

ALIGNMENT = (
    "Tools that write or destroy ask before they act.",
    "Every effect of a process is journaled before its result counts.",
    "What a process may use is bounded, and checked before it is used.",
)

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left}"
    ".card{border:1px solid #8888;border-radius:.5rem;padding:.5rem 1rem;margin:.5rem 0}"
)


def page(summary: HealthSummary) -> str:
    """The whole page."""
    counts = ", ".join(f"{count} {status}" for status, count in summary.summary.items())
    body = [
        "<h1>Governance Dashboard</h1>",
        f"<h2>System Status: {escape(summary.overall_status.upper())}</h2><p>{escape(counts)}</p>",
        "<h2>Memory Layer Status</h2>",
        _table(("Layer", "What it holds", "Status", "Backend"), MEMORY_LAYERS),
        "<h2>Circuit Breaker</h2><p>DISABLED</p>",
        "<h2>Tools</h2>",
        *(_card(tool) for tool in summary.tools),
        "<h2>Slow executions</h2>",
        _slow(summary),
        "<h2>Constitutional Alignment</h2><ul>",
        *(f"<li>{escape(line)}</li>" for line in ALIGNMENT),
        "</ul>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Governance Dashboard</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>"
    )


def _card(tool: ToolHealth) -> str:
    return (
        f'<div class="card"><h3>{escape(tool.tool_name)}</h3><p>{escape(tool.status)}:'
        f" success rate {tool.success_rate:.1%}, mean latency {tool.avg_latency_ms:.2f} ms,"
        f" {tool.total_calls} calls, {tool.recent_errors} errors</p></div>"
    )


def _slow(summary: HealthSummary) -> str:
    if not summary.slow_executions:
        return "<p>No slow executions.</p>"
    rows = [
        (each.tool_name, f"{each.execution_time_ms} ms", each.recorded_at.isoformat())
        for each in summary.slow_executions
    ]
    return _table(("Tool", "Time", "When"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _row(tag: str, cells: tuple[str, ...]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
