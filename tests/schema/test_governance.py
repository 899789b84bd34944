"""Governance in GraphQL: everybody may look, administrators govern and hear of it."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from mission_system.core.clock import now
from mission_system.core.identity import LOCAL
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tools.breaker import FAILURES
from mission_system.core.tools.calls import FinishedCall, add_call
from mission_system.core.tools.decorator import tool
from mission_system.core.tools.spec import ToolStatus

from .conftest import Client


@tool
def mail() -> str:
    """Send."""
    return "sent"


@pytest.fixture(autouse=True)
def _tool(client: Client) -> None:
    client.node.runtime.tool_registry.register(mail)  # type: ignore[attr-defined]


async def record(client: Client, name: str, *, ok: int = 0, bad: int = 0, ms: int = 10) -> None:
    async def unit(tx: Transaction) -> None:
        for n in range(ok + bad):
            status = ToolStatus.SUCCESS if n < ok else ToolStatus.ERROR
            await add_call(tx, FinishedCall(name, status, now(), ms * 1000))

    await client.node.database.write(unit)


ALL = """
query ($hours: Int!) { governance {
  summary(hours: $hours) { overallStatus healthy degraded unhealthy unknown checkedAt }
  tools(hours: $hours) { tool status successRate avgLatencyMs maxLatencyMs totalCalls recentErrors
    issues recommendations lastUsed checkedAt }
  slowExecutions(hours: $hours) { tool executionTimeMs recordedAt }
  providerBreakers { provider state failures retryAt }
  breakers { tool state policy offered reason changedAt changedBy retryAt recentFailures }
  memoryLayers { layer name description state healthy backend rows rowsEstimated lastWrite message
    enable }
  alignment { name title definition threshold state value total good cases { text pid } message
    measuredAt }
} }
"""


async def test_governance_tells_all_there_is(client: Client) -> None:
    await record(client, "mail", ok=4, bad=1, ms=6000)
    found = (await client.data(ALL, hours=1))["governance"]
    assert found["summary"] | {"checkedAt": None} == {
        "overallStatus": "UNHEALTHY",
        "healthy": 0,
        "degraded": 0,
        "unhealthy": 1,
        "unknown": 0,
        "checkedAt": None,
    }
    [mail] = found["tools"]
    assert (mail["tool"], mail["status"], mail["successRate"]) == ("mail", "UNHEALTHY", 0.8)
    assert (mail["avgLatencyMs"], mail["maxLatencyMs"]) == (6000, 6000)
    assert (mail["totalCalls"], mail["recentErrors"]) == (5, 1)
    assert len(mail["issues"]) == 2
    assert len(found["slowExecutions"]) == 5
    assert found["providerBreakers"] == [
        {"provider": "mock", "state": "CLOSED", "failures": 0, "retryAt": None}
    ]
    [breaker] = found["breakers"]
    assert breaker == {
        "tool": "mail",
        "state": "CLOSED",
        "policy": "LOG_AND_ENFORCE",
        "offered": True,
        "reason": None,
        "changedAt": None,
        "changedBy": None,
        "retryAt": None,
        "recentFailures": 0,
    }
    layers = {each["layer"]: each for each in found["memoryLayers"]}
    assert list(layers) == [f"L{n}" for n in range(1, 8)]
    assert [layer for layer, each in layers.items() if each["state"] == "ACTIVE"] == [
        *("L1", "L2", "L4", "L7")
    ]
    assert all("register_memory_layers" in layers[each]["enable"] for each in ("L3", "L5", "L6"))
    assert {each["name"] for each in found["alignment"]} == {
        *("evidence_chain", "bounded_retry", "deterministic_spine", "observability"),
        "human_oversight",
    }


async def test_a_window_out_of_range_names_its_argument(client: Client) -> None:
    error = await client.error(ALL, hours=0)
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": "hours"}


GOVERN = """
mutation ($tool: String!, $reason: String!) {
  quarantineTool(input: {tool: $tool, reason: $reason}) {
    ... on QuarantineToolPayload { breaker { state offered changedBy reason } }
    ... on Error { code message } }
  resetBreaker(input: {tool: $tool}) {
    ... on ResetBreakerPayload { breaker { state } } ... on Error { code } }
  releaseTool(input: {tool: $tool}) {
    ... on ReleaseToolPayload { breaker { state offered } } ... on Error { code } }
}
"""


async def test_an_administrator_quarantines_and_releases_a_tool(client: Client) -> None:
    done = await client.data(GOVERN, tool="mail", reason="it leaks")
    assert done["quarantineTool"]["breaker"] == {
        "state": "QUARANTINED",
        "offered": False,
        "changedBy": "local",
        "reason": "it leaks",
    }
    assert done["resetBreaker"] == {"code": "CONFLICT"}
    assert done["releaseTool"]["breaker"] == {"state": "CLOSED", "offered": True}


async def test_others_may_look_and_not_govern(client: Client) -> None:
    ann = client.called("ann")
    assert (await ann.data("{ governance { breakers { tool } } }"))["governance"]["breakers"]
    done = await ann.data(GOVERN, tool="mail", reason="it leaks")
    assert [each["code"] for each in done.values()] == ["FORBIDDEN"] * 3
    results = await ann.schema.subscribe(
        "subscription { systemEvents { type } }", context_value=ann.context
    )
    async with aclosing(results):
        first = await anext(aiter(results))
    assert first.errors is not None
    assert first.errors[0].extensions == {"code": "FORBIDDEN"}


WHY = """{ governance { breakers { state reason changedBy } }
  tools { breaker { reason changedBy } } }"""


async def test_an_administrators_reasons_and_name_are_for_administrators(client: Client) -> None:
    await client.node.governor.quarantine(LOCAL, "mail", "Bob leaks the customers")
    for reader, reason, by in (
        (client, "Bob leaks the customers", "local"),
        (client.called("ann"), None, None),
    ):
        found = await reader.data(WHY)
        seen = {"reason": reason, "changedBy": by}
        assert found["governance"]["breakers"] == [{"state": "QUARANTINED"} | seen]
        assert [each["breaker"] for each in found["tools"]] == [seen]


async def test_why_the_server_opened_a_breaker_is_for_everybody(client: Client) -> None:
    breakers = client.node.governor.breakers
    for _ in range(FAILURES):
        breakers.leave("mail", breakers.enter("mail"), ToolStatus.ERROR)
    [found] = (await client.called("ann").data(WHY))["governance"]["breakers"]
    assert found["reason"] == "5 of its calls failed within 5 minutes"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"tool": "nothing", "reason": "x"}, "NOT_FOUND"),
        ({"tool": "\x00", "reason": "x"}, "NOT_FOUND"),
        ({"tool": "mail", "reason": ""}, "INVALID_INPUT"),
        ({"tool": "mail", "reason": "x" * 501}, "INVALID_INPUT"),
        ({"tool": "mail", "reason": "\x00"}, "INVALID_INPUT"),
    ],
)
async def test_what_is_out_of_bounds_is_refused(
    client: Client, given: dict[str, str], code: str
) -> None:
    assert (await client.data(GOVERN, **given))["quarantineTool"]["code"] == code


SYSTEM = "subscription ($after: String) { systemEvents(after: $after) { cursor type payload } }"


async def test_system_events_are_followed_and_resumed(client: Client) -> None:
    await client.data(GOVERN, tool="mail", reason="it leaks")
    async with aclosing(client.follow(SYSTEM, after="")) as events:
        first, second = await anext(events), await anext(events)
    assert first["type"] == "breaker.changed"
    assert (first["payload"]["to"], second["payload"]["to"]) == ("quarantined", "closed")
    async with aclosing(client.follow(SYSTEM, after=first["cursor"])) as events:
        assert await anext(events) == second
