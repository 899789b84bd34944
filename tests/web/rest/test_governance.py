"""Section 5 of the contract: governance."""

from __future__ import annotations

import pytest

from mission_system.core.clock import SECOND, now
from mission_system.core.identity import Caller, Role
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tools.calls import FinishedCall, add_call
from mission_system.core.tools.decorator import tool as tool_of
from mission_system.core.tools.spec import ToolStatus

from .conftest import Api, Json, problem

G = "/api/v1/governance"
HEALTH = {
    *("tool_name", "status", "success_rate", "avg_latency_ms", "total_calls", "recent_errors"),
    *("issues", "recommendations", "checked_at"),
}


async def record(
    api: Api, tool: str, *, ok: int = 0, bad: int = 0, ms: int = 10, ago: int = 0
) -> None:
    """Calls of a tool, as the journal holds them."""
    at = now() - ago * 3600 * SECOND

    async def unit(tx: Transaction) -> None:
        for n in range(ok + bad):
            status = ToolStatus.SUCCESS if n < ok else ToolStatus.ERROR
            await add_call(tx, FinishedCall(tool, status, at, ms * 1000))

    await api.node.database.write(unit)


async def tool(api: Api, name: str, **query: int) -> Json:
    answer = await api.http.get(f"{G}/tools/{name}", params=query)
    assert answer.status_code == 200
    found: Json = answer.json()
    assert set(found) == HEALTH
    return found


@pytest.mark.parametrize(
    ("calls", "status"),
    [
        ({"ok": 4}, "unknown"),
        ({"ok": 5}, "healthy"),
        ({"ok": 19, "bad": 1}, "healthy"),
        ({"ok": 18, "bad": 2}, "degraded"),
        ({"ok": 16, "bad": 4}, "degraded"),
        ({"ok": 15, "bad": 5}, "unhealthy"),
        ({"ok": 5, "ms": 2000}, "healthy"),
        ({"ok": 5, "ms": 2001}, "degraded"),
        ({"ok": 5, "ms": 5000}, "degraded"),
        ({"ok": 5, "ms": 5001}, "unhealthy"),
        ({"ok": 18, "bad": 2, "ms": 6000}, "unhealthy"),
    ],
)
async def test_5_a_tool_is_judged_by_the_worse_of_rate_and_latency(
    api: Api, calls: dict[str, int], status: str
) -> None:
    await record(api, "sum", **calls)
    found = await tool(api, "sum")
    total = calls.get("ok", 0) + calls.get("bad", 0)
    assert (found["status"], found["total_calls"]) == (status, total)
    assert found["recent_errors"] == calls.get("bad", 0)
    assert found["avg_latency_ms"] == calls.get("ms", 10)
    assert bool(found["issues"]) is (status != "healthy")


async def test_5_rates_have_four_places(api: Api) -> None:
    await record(api, "sum", ok=5, bad=1)
    assert (await tool(api, "sum"))["success_rate"] == 0.8333


async def test_5_a_tool_nobody_knows_is_unknown(api: Api) -> None:
    for name in ("nobody", "x" * 1000, "%00", "%22%3E"):
        found = await tool(api, name)
        assert (found["status"], found["total_calls"]) == ("unknown", 0)
        assert found["issues"]


async def test_5_the_window_is_an_hour_unless_given(api: Api) -> None:
    await record(api, "sum", ok=5, ago=2)
    assert (await tool(api, "sum"))["total_calls"] == 0
    assert (await tool(api, "sum", period_hours=3))["total_calls"] == 5
    for value, type in (
        ("0", "greater_than_equal"),
        ("8761", "less_than_equal"),
        ("x", "int_parsing"),
    ):
        answer = await api.http.get(f"{G}/tools/sum?period_hours={value}")
        assert problem(answer) == (type, ["query", "period_hours"])


async def test_5_health_counts_each_tool_once(api: Api) -> None:
    await record(api, "good", ok=5)
    await record(api, "bad", bad=5)
    await record(api, "new", ok=1)
    await record(api, "old", ok=5, ago=25)
    body = (await api.http.get(f"{G}/health")).json()
    assert set(body) == {
        *("overall_status", "summary", "tools_needing_attention", "slow_executions", "checked_at")
    }
    assert body["overall_status"] == "unhealthy"
    unknown = sum(1 for _ in api.node.runtime.tool_registry) + 1
    assert body["summary"] == {"healthy": 1, "degraded": 0, "unhealthy": 1, "unknown": unknown}
    needing = {each["tool_name"]: each for each in body["tools_needing_attention"]}
    assert {"bad", "new"} <= set(needing)
    assert "good" not in needing
    assert set(needing["bad"]) == HEALTH
    for spec in api.node.runtime.tool_registry:
        assert needing[spec.name]["status"] == "unknown"


async def test_5_slow_executions_are_the_slowest_ten(api: Api) -> None:
    for ms in range(4996, 5012):
        await record(api, f"t{ms}", ok=1, ms=ms)
    slow = (await api.http.get(f"{G}/health")).json()["slow_executions"]
    assert [each["execution_time_ms"] for each in slow] == list(range(5011, 5001, -1))
    assert set(slow[0]) == {"tool_name", "execution_time_ms", "recorded_at"}


async def test_5_the_dashboard_is_a_page(api: Api) -> None:
    await record(api, "<script>alert(1)</script>", ok=5)
    for accept in ("*/*", "text/html", "text/html,application/json"):
        answer = await api.http.get(f"{G}/dashboard", headers={"Accept": accept})
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    for text in (
        *("Governance Dashboard", "System Status: HEALTHY", "Memory Layer Status"),
        *("L1", "L2", "L3", "L4", "L5", "L6", "L7", "Circuit Breaker", "ENABLED"),
        *("No slow executions", "Constitutional Alignment", "5 calls"),
    ):
        assert text in page, text
    assert page.count("<script") == 1  # our own
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("changed", [{"auth": "tokens"}])
async def test_5_the_dashboard_tells_administrators_alone_why_a_tool_is_shut_off(
    api: Api, changed: Json
) -> None:
    @tool_of
    def mail() -> None:
        """Send."""

    api.node.runtime.tool_registry.register(mail)  # type: ignore[attr-defined]
    await api.node.governor.quarantine(Caller("boss", "admin"), "mail", "it leaks <all>")
    cases: tuple[tuple[str, Role, bool], ...] = (("boss", "admin", True), ("ann", "user", False))
    for user, role, sees in cases:
        _, secret = await api.node.tokens.create(user, role=role)
        headers = {"Authorization": f"Bearer {secret}", "Accept": "text/html"}
        answer = await api.http.get(f"{G}/dashboard", headers=headers)
        assert answer.status_code == 200
        assert "quarantined" in answer.text
        assert ("it leaks &lt;all&gt;" in answer.text, "boss" in answer.text) == (sees, sees)
        assert ("an administrator" in answer.text) is not sees


async def test_5_the_dashboard_is_json_for_programs(api: Api) -> None:
    await record(api, "sum", ok=5)
    answer = await api.http.get(f"{G}/dashboard", headers={"Accept": "application/json"})
    body = answer.json()
    assert set(body) == {"tools", "agents", "memory_layers", "config"}
    assert [each["name"] for each in body["memory_layers"]] == [f"L{n}" for n in range(1, 8)]
    assert set(body["agents"][0]) == {"name", "description", "status", "layer"}
    assert body["config"] == {
        "llm_provider": "mock",
        "database_backend": "sqlite",
        "log_level": "info",
    }
    [found] = [each for each in body["tools"] if each["tool_name"] == "sum"]
    assert set(found) == {
        *("tool_name", "status", "success_rate", "avg_latency_ms", "circuit_state", "last_used")
    }
