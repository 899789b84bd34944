"""The governance dashboard as a page: every value escaped, readable without its script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from ...core.alignment.indicator import Indicator
from ...core.clock import to_datetime
from ...core.identity import Caller
from ...core.memory.layers import MemoryLayer
from ...core.node import Node
from ...core.tools.breaker import Breaker, BreakerState
from ...core.tools.health import ORDER, HealthSummary, ToolHealth

STATIC = "/static/governance"
RELOAD_SECONDS = 15
SHOWN_CASES = 5

# What a state means at a glance; a page without colours says the word itself.
_TONES = {
    **dict.fromkeys(("healthy", "closed", "active", "met"), "good"),
    **dict.fromkeys(("degraded", "half_open", "missed"), "fair"),
    **dict.fromkeys(("unhealthy", "open", "quarantined", "failed"), "bad"),
}
_HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Governance Dashboard</title>
<link rel="stylesheet" href="{STATIC}/dashboard.css">
<link rel="icon" href="data:,">
<script src="{STATIC}/dashboard.js" defer></script>
<noscript><meta http-equiv="refresh" content="{RELOAD_SECONDS}"></noscript>
</head><body data-seconds="{RELOAD_SECONDS}">
<a class="skip" href="#dashboard">Skip to the dashboard</a>
<header><h1>Governance Dashboard</h1><p id="live" role="status"></p></header>
"""


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the page shows, read once."""

    health: HealthSummary
    breakers: Sequence[Breaker]
    layers: Sequence[MemoryLayer]
    indicators: Sequence[Indicator]
    is_enabled: bool
    viewer: Caller


async def look(node: Node, viewer: Caller) -> View:
    health = await node.tool_health.summary()
    rules = node.governor.breakers.rules
    return View(
        health=health,
        breakers=node.governor.all(),
        layers=await node.memory_layers.status(),
        indicators=await node.alignment.report(),
        is_enabled=any(policy != "off" for policy in (rules.policy, *rules.policies.values())),
        viewer=viewer,
    )


def page(view: View) -> str:
    """The whole page."""
    breakers = {each.tool: each for each in view.breakers}
    parts = [
        _HEAD,
        '<main id="dashboard" tabindex="-1">',
        _status(view.health),
        _section("breakers", "Circuit Breaker", _breakers(view)),
        _section("tools", "Tools", _tools(view.health.tools, breakers)),
        _section("slow", "Slow Executions", _slow(view.health)),
        _section("layers", "Memory Layer Status", _layers(view.layers)),
        _section("alignment", "Constitutional Alignment", _alignment(view.indicators)),
        "</main></body></html>\n",
    ]
    return "".join(parts)


def _status(health: HealthSummary) -> str:
    counts = "".join(
        f'<li class="{_tone(status)}"><b>{count}</b> {escape(status)}</li>'
        for status, count in health.summary.items()
    )
    overall = escape(health.overall_status)
    return (
        f'<section class="status {_tone(overall)}" aria-labelledby="status">'
        f'<h2 id="status">System Status: {overall.upper()}</h2>'
        f'<ul class="counts">{counts}</ul>'
        f"<p>Tools of the last 24 hours, as of {_time(health.checked_at)}</p></section>"
    )


def _breakers(view: View) -> str:
    word = "ENABLED" if view.is_enabled else "DISABLED"
    away = [each for each in view.breakers if each.state is not BreakerState.CLOSED]
    said = f"<p><strong>{word}</strong>: "
    if not away:
        return f"{said}every breaker is closed.</p>"
    rows = [
        (
            f"<code>{escape(each.tool)}</code>",
            _badge(each.state.value),
            escape(reason or ""),
            escape(by or ("the server" if each.by is None else "an administrator")),
            _moment(each.since),
        )
        for each in away
        for reason, by in [each.told(view.viewer)]
    ]
    table = _table("Breakers that are not closed", ("Tool", "State", "Why", "By", "Since"), rows)
    return f"{said}{len(away)} not closed.</p>{table}"


def _tools(tools: Iterable[ToolHealth], breakers: dict[str, Breaker]) -> str:
    by_need = sorted(tools, key=lambda tool: ORDER.index(tool.status))  # by name within a status
    cards = "".join(_card(tool, breakers.get(tool.tool_name)) for tool in by_need)
    return f'<div class="cards">{cards}</div>' if cards else "<p>No tools are registered.</p>"


def _card(tool: ToolHealth, breaker: Breaker | None) -> str:
    state = breaker.state if breaker is not None else BreakerState.CLOSED
    closed = state is BreakerState.CLOSED
    facts = (
        ("Success rate", f"{tool.success_rate:.1%}" if tool.total_calls else "none yet"),
        ("Mean latency", _latency(tool, tool.avg_latency_ms)),
        ("Longest", _latency(tool, tool.max_latency_ms)),
        ("Calls", f"{tool.total_calls} calls"),
        ("Errors", f"{tool.recent_errors} errors"),
        ("Last used", _time(tool.last_used) if tool.last_used else "never"),
    )
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    notes = "".join(f"<li>{escape(note)}</li>" for note in (*tool.issues, *tool.recommendations))
    return (
        f'<article class="card {_tone(tool.status)}" tabindex="0"><h3>{escape(tool.tool_name)}</h3>'
        f'<p class="badges">{_badge(tool.status)}{"" if closed else _badge(state.value)}</p>'
        f'<meter min="0" max="1" low="0.8" high="0.95" optimum="1" value="{tool.success_rate:.4f}"'
        f' aria-label="Success rate">{tool.success_rate:.1%}</meter>'
        f"<dl>{listed}</dl>{f'<ul>{notes}</ul>' if notes else ''}</article>"
    )


def _slow(health: HealthSummary) -> str:
    if not health.slow_executions:
        return "<p>No slow executions.</p>"
    rows = [
        (
            f"<code>{escape(each.tool_name)}</code>",
            _milliseconds(each.execution_time_ms),
            _time(each.recorded_at),
        )
        for each in health.slow_executions
    ]
    return _table("Calls of 5 seconds or more, the slowest first", ("Tool", "Time", "When"), rows)


def _layers(layers: Iterable[MemoryLayer]) -> str:
    rows = [
        (
            f"<b>{each.id}</b> {escape(each.name)}",
            escape(each.description),
            _badge(each.state),
            escape(each.backend or "none"),
            _rows(each),
            _time(each.last_write) if each.last_write else "",
            escape(each.message or each.enable or ("well" if each.healthy else "not well")),
        )
        for each in layers
    ]
    head = ("Layer", "What it holds", "Status", "Backend", "Rows", "Last write", "Health")
    return _table("Layers of memory", head, rows)


def _alignment(indicators: Iterable[Indicator]) -> str:
    return f'<div class="cards">{"".join(_indicator(each) for each in indicators)}</div>'


def _indicator(each: Indicator) -> str:
    value = "nothing to measure by yet" if each.value is None else f"{each.value:.1%}"
    cases = "".join(f"<li>{escape(case.text)}</li>" for case in each.cases[:SHOWN_CASES])
    failing = each.total - each.good
    return (
        f'<article class="card {_tone(each.state)}" tabindex="0"><h3>{escape(each.title)}</h3>'
        f'<p class="badges">{_badge(each.state)}<strong>{value}</strong></p>'
        f"<p>{escape(each.definition)}</p>"
        f"<p>{each.good} of {each.total}; at least {each.threshold:.0%} keep the promise.</p>"
        + (f"<p>{escape(each.message)}</p>" if each.message else "")
        + (f"<p>{failing} did not:</p><ul>{cases}</ul>" if cases else "")
        + "</article>"
    )


def _section(name: str, title: str, body: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{body}</section>'


def _table(caption: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Cells are HTML already."""
    first = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead><tr>{first}</tr></thead><tbody>{body}</tbody>"
        "</table></div>"
    )


def _badge(state: str) -> str:
    return f'<span class="badge {_tone(state)}">{escape(state.replace("_", "-"))}</span>'


def _tone(state: str) -> str:
    return _TONES.get(state, "plain")


def _rows(layer: MemoryLayer) -> str:
    if layer.rows is None:
        return "" if layer.state == "available" else "not counted"
    return f"{'about ' if layer.is_estimate else ''}{layer.rows:,}"


def _latency(tool: ToolHealth, value: float) -> str:
    return _milliseconds(value) if tool.total_calls else "none yet"


def _milliseconds(value: float) -> str:
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.1f} ms"


def _moment(at: int) -> str:
    return _time(to_datetime(at)) if at else ""


def _time(at: datetime) -> str:
    shown = at.strftime("%Y-%m-%d %H:%M:%S")
    return f'<time datetime="{escape(at.isoformat())}">{shown} UTC</time>'
