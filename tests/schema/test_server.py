"""What a server says of itself: who is asking, what it serves, how it is."""

from __future__ import annotations

import pytest

from mission_system.core.capabilities import CapabilityRegistry, OrchestratorSpec, Reply
from mission_system.core.health.result import ComponentHealth, ComponentStatus
from mission_system.core.identity import Caller
from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.core.tower.mission import Mission
from mission_system.plugins.hookspecs import hookimpl
from mission_system.plugins.loader import load_plugins
from mission_system.schema.node import global_id

from .conftest import Client, plugin


async def reply(_: Mission) -> Reply:
    return Reply("never asked")


@pytest.mark.parametrize("role", ["user", "admin", "service"])
async def test_the_viewer_is_the_caller(client: Client, role: str) -> None:
    client.caller = Caller("ada", role)  # type: ignore[arg-type]
    data = await client.data("{ viewer { userId role } }")
    assert data["viewer"] == {"userId": "ada", "role": role.upper()}


async def test_capabilities_are_listed_by_name_with_the_default_marked(client: Client) -> None:
    data = await client.data("{ capabilities { name version description isDefault } }")
    assert data["capabilities"] == [
        {
            "name": "assistant",
            "version": 1,
            "description": "Talks with the configured model.",
            "isDefault": True,
        },
        {
            "name": "gate",
            "version": 1,
            "description": "Waits for a test.",
            "isDefault": False,
        },
    ]


async def test_where_none_is_the_default_none_is_marked(client: Client, node: Node) -> None:
    node.capabilities = CapabilityRegistry(
        (OrchestratorSpec("a", reply), OrchestratorSpec("b", reply))
    )
    data = await client.data("{ capabilities { name isDefault } }")
    assert data["capabilities"] == [
        {"name": "a", "isDefault": False},
        {"name": "b", "isDefault": False},
    ]


async def test_broken_plugins_are_shown_with_reason_and_fix(
    client: Client, settings: Settings
) -> None:
    first = plugin(OrchestratorSpec("twice", reply))
    second = plugin(OrchestratorSpec("twice", reply))
    second.__name__ = "other"
    client.plugins = load_plugins(settings, [first, second], entry_points=False)
    plugins = (
        await client.data("{ plugins { name distribution status reason fix capabilities } }")
    )["plugins"]
    assert [(p["status"], p["capabilities"]) for p in plugins] == [
        ("LOADED", ["twice"]),
        ("FAILED", []),
    ]
    assert plugins[0]["reason"] is None
    assert plugins[1]["fix"]
    assert "twice" in plugins[1]["reason"]


async def test_what_a_broken_plugin_says_is_for_administrators(
    client: Client, settings: Settings
) -> None:
    broken = plugin(OrchestratorSpec("twice", reply))

    @hookimpl
    def register_tools() -> list[object]:
        raise RuntimeError("cannot connect to postgres://app:hunter2@db")

    broken.__dict__["register_tools"] = register_tools
    client.plugins = load_plugins(settings, [broken], entry_points=False)
    document = "query Q($id: ID!) { node(id: $id) { ... on Plugin { reason fix } } }"
    id = global_id("Plugin", "test_capabilities")
    told = (await client.data(document, id=id))["node"]
    assert "hunter2" in told["reason"]
    assert told["fix"]
    for caller in (Caller("eve"), Caller("gateway", "service")):
        client.caller = caller
        kept = {"reason": "It is not served; the server's log says why.", "fix": None}
        assert (await client.data(document, id=id))["node"] == kept
        assert (await client.data("{ plugins { reason fix } }"))["plugins"] == [kept]


async def test_health_touches_nothing_and_readiness_looks_at_what_it_needs(client: Client) -> None:
    data = await client.data(
        "{ health { status version uptimeSeconds components { name status } }"
        " readiness { status components { name status latencyMs lastCheck } } }"
    )
    assert data["health"]["status"] == "HEALTHY"
    assert data["health"]["components"] == [{"name": "api", "status": "UP"}]
    assert data["health"]["uptimeSeconds"] >= 0
    parts = ("database", "schema", "writer", "hub", "dispatcher", "models")
    found = {c["name"]: c["status"] for c in data["readiness"]["components"]}
    assert found == dict.fromkeys(parts, "UP")


async def test_a_component_that_is_down_makes_the_server_unhealthy(
    client: Client, node: Node
) -> None:
    async def down() -> ComponentHealth:
        return ComponentHealth(status=ComponentStatus.DOWN, message="no disk")

    node.health.register("disk", down)
    data = await client.data("{ readiness { status components { name status message } } }")
    assert data["readiness"]["status"] == "UNHEALTHY"
    assert {"name": "disk", "status": "DOWN", "message": "no disk"} in data["readiness"][
        "components"
    ]
