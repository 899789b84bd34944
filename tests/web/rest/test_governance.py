"""Governance, where a server in this process shows more than one over a socket."""

from __future__ import annotations

import pytest

from mission_system.core.clock import now
from mission_system.core.identity import Caller, Role
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tools.calls import FinishedCall, add_call
from mission_system.core.tools.decorator import tool as tool_of
from mission_system.core.tools.spec import ToolStatus

from .conftest import Api, Json

G = "/api/v1/governance"
HEALTH = {
    *("tool_name", "status", "success_rate", "avg_latency_ms", "total_calls", "recent_errors"),
    *("issues", "recommendations", "checked_at"),
}


async def record(api: Api, tool: str, *, ok: int = 0, bad: int = 0, ms: int = 10) -> None:
    """Calls of a tool, as the journal holds them."""

    async def unit(tx: Transaction) -> None:
        for n in range(ok + bad):
            status = ToolStatus.SUCCESS if n < ok else ToolStatus.ERROR
            await add_call(tx, FinishedCall(tool, status, now(), ms * 1000))

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
