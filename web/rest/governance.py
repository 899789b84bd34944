"""Governance: how the tools, the layers of memory and the promises of the server are doing.

Agents are the capabilities that are served.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.responses import Response

from ...core.chat.text import MAX_ID
from ...core.node import Node
from ...core.tools.health import HealthSummary, ToolHealth
from .dashboard import View, look, page
from .endpoint import JSON, Call, Endpoint, Nothing
from .models import (
    DashboardAgent,
    DashboardConfig,
    DashboardMemoryLayer,
    DashboardResponse,
    DashboardTool,
    HealthSummaryResponse,
    ToolHealthResponse,
)
from .parameters import Dashboard, OfTool

GOVERNANCE = "/api/v1/governance"
HTML = "text/html"
REFUSED = re.compile(r"q=0(\.0*)?")
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def health(call: Call[Nothing, Nothing]) -> HealthSummary:
    """All tools over the last 24 hours, and the slowest calls."""
    return await call.node.tool_health.summary()


async def tool_health(call: Call[OfTool, Nothing]) -> ToolHealth:
    """One tool; one that nobody knows is `unknown`, not an error."""
    name = call.params.tool_name[:MAX_ID].replace("\x00", "\ufffd")
    return await call.node.tool_health.tool(name, call.params.period_hours)


async def dashboard(call: Call[Dashboard, Nothing]) -> Response:
    """A page for people; JSON for whoever accepts that and no HTML."""
    view = await look(call.node, call.caller)
    named = _accepted(call.request.headers.getlist("accept"))
    if JSON in named and HTML not in named:
        body = _for_programs(call.node, view).model_dump_json()
        return Response(body, headers={"Vary": "Accept"}, media_type=JSON)
    headers = {"Content-Security-Policy": PAGE_POLICY, "Vary": "Accept"}
    return Response(page(view), media_type=HTML, headers=headers)


def _accepted(headers: Iterable[str]) -> set[str]:
    """The types that these name: not the wildcards, nor what has the weight 0, which refuses it."""
    named: set[str] = set()
    for each in ",".join(headers).lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        if not any(REFUSED.fullmatch(parameter) for parameter in parameters):
            named.add(name)
    return named


def _for_programs(node: Node, view: View) -> DashboardResponse:
    settings = node.runtime.settings
    return DashboardResponse(
        tools=[
            DashboardTool.model_validate(
                {
                    "tool_name": tool.tool_name,
                    "status": tool.status,
                    "success_rate": tool.success_rate,
                    "avg_latency_ms": tool.avg_latency_ms,
                    "circuit_state": node.runtime.breakers.get(tool.tool_name).state.value,
                    "last_used": tool.last_used,
                }
            )
            for tool in view.health.tools
        ],
        agents=[
            DashboardAgent(
                name=spec.name, description=spec.description, status="active", layer="capability"
            )
            for spec in node.capabilities
        ],
        memory_layers=[
            DashboardMemoryLayer(
                name=layer.id,
                description=f"{layer.name}: {layer.description}",
                status=layer.state,
                backend=layer.backend or "none",
            )
            for layer in view.layers
        ],
        config=DashboardConfig(
            llm_provider=node.runtime.provider_name,
            database_backend="postgresql" if settings.database_url else "sqlite",
            log_level=settings.log_level,
        ),
    )


endpoints = (
    Endpoint("GET", f"{GOVERNANCE}/health", health, Nothing, Nothing, HealthSummaryResponse),
    Endpoint(
        "GET", f"{GOVERNANCE}/tools/{{tool_name}}", tool_health, OfTool, Nothing, ToolHealthResponse
    ),
    Endpoint(
        "GET",
        f"{GOVERNANCE}/dashboard",
        dashboard,
        Dashboard,
        Nothing,
        DashboardResponse,
        media=(JSON, HTML),
    ),
)
