"""`/metrics` says what happened, in the form that Prometheus' own parser reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from mission_system import Mission, OrchestratorSpec, ToolFailed, ToolSpec, hookimpl, tool
from mission_system.core.clock import now
from mission_system.core.errors import LLMError
from mission_system.core.identity import LOCAL
from mission_system.core.llm.factory import ProviderMaker
from mission_system.core.llm.provider import LLMChunk, LLMReply, LLMRequest
from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.core.storage.persistence import Transaction
from mission_system.core.tower.model_usage import MOST, add_model_usage
from mission_system.core.tower.process import Envelope
from mission_system.web.app import create_app
from mission_system.web.lifespan import lifespan

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@tool
def flaky() -> str:
    """Fail."""
    raise RuntimeError("no")


async def tries(mission: Mission) -> str:
    if mission.message == "ask":
        await mission.clarify("What?")
    for _ in range(6):
        try:
            await mission.tools.flaky()
        except ToolFailed:
            continue
    return "tried"


class Down:
    """A provider that does not answer."""

    name = "acme"

    async def complete(self, request: LLMRequest) -> LLMReply:
        raise LLMError("unavailable", "down")

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        raise LLMError("unavailable", "down")
        yield LLMChunk()


def plugin() -> ModuleType:
    module = ModuleType("tries")

    @hookimpl
    def register_tools() -> list[ToolSpec]:
        return [flaky]

    @hookimpl
    def register_orchestrators() -> list[OrchestratorSpec]:
        return [OrchestratorSpec("tries", tries)]

    @hookimpl
    def register_llm_providers() -> dict[str, ProviderMaker]:
        return {"acme": lambda _: Down()}

    module.__dict__.update(
        register_tools=register_tools,
        register_orchestrators=register_orchestrators,
        register_llm_providers=register_llm_providers,
    )
    return module


@pytest.fixture
def changed() -> dict[str, Any]:
    return {}


@pytest.fixture
async def app(tmp_path: Path, changed: dict[str, Any]) -> AsyncIterator[Starlette]:
    app = create_app(Settings(data=tmp_path, shutdown_seconds=0, **changed), [plugin()])
    async with lifespan(app):
        yield app


def client(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000")


async def scrape(app: Starlette) -> Samples:
    answer = await client(app).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def send(app: Starlette, message: str, capability: str = "tries") -> None:
    envelope = Envelope(caller=LOCAL, message=message, capability=capability)
    await cast(Node, app.state.node).tower.submit_request(envelope, wait=30)


async def test_it_counts_what_happened(app: Starlette) -> None:
    before = await scrape(app)
    assert before["mission_requests_total", ()] == 0
    await send(app, "go")
    await send(app, "ask")
    await send(app, "hello", "assistant")
    found = await scrape(app)
    assert found["mission_requests_total", ()] == 3
    assert found["mission_processes", (("state", "waiting"),)] == 1
    assert found["mission_processes", (("state", "terminated"),)] == 2
    assert found["mission_turn_seconds_count", ()] == 2
    assert found["mission_queue_wait_seconds_count", ()] == 3
    assert found["mission_step_seconds_count", (("kind", "tool"),)] == 6
    assert found["mission_step_seconds_count", (("kind", "llm"),)] == 1
    assert found["mission_step_seconds_bucket", (("kind", "llm"), ("le", "+Inf"))] == 1
    calls = {
        dict(labels)["status"]: value
        for (name, labels), value in found.items()
        if name == "mission_tool_calls_total"
    }
    assert calls == {"error": 5, "unavailable": 1}
    states = {
        dict(labels)["state"]: value
        for (name, labels), value in found.items()
        if name == "mission_tool_breaker" and dict(labels)["tool"] == "flaky"
    }
    assert states == {"closed": 0, "open": 1, "half_open": 0, "quarantined": 0}
    assert found["mission_llm_calls_total", ()] == 1
    assert found["mission_writer_units_total", ()] > before["mission_writer_units_total", ()]
    assert 0 < found["mission_writer_commits_total", ()] <= found["mission_writer_units_total", ()]
    assert (found["mission_queue_depth", ()], found["mission_running", ()]) == (0, 0)


@pytest.mark.parametrize("changed", [{"llm_provider": "acme"}])
async def test_it_tells_what_models_cost_and_how_their_providers_are(app: Starlette) -> None:
    node = cast(Node, app.state.node)
    closed = {"closed": 1, "limited": 0, "open": 0, "half_open": 0}
    assert provider_states(await scrape(app)) == closed

    async def unit(tx: Transaction) -> None:
        for session, model in ((1, "acme/big"), (2, "acme/big"), (2, "acme/small")):
            await add_model_usage(tx, "ann", session, model, (10, 5), 2_500_000, now())

    await node.database.write(unit)
    found = await scrape(app)
    assert found["mission_llm_cost_micros_total", (("model", "acme/big"),)] == 5000
    assert found["mission_llm_cost_micros_total", (("model", "acme/small"),)] == 2500

    for _ in range(node.runtime.settings.llm_breaker_failures):
        with pytest.raises(LLMError):
            await node.runtime.llm("default").complete(LLMRequest(messages=()))
    assert provider_states(await scrape(app)) == closed | {"closed": 0, "open": 1}


async def test_it_tells_the_cost_of_every_model(app: Starlette) -> None:
    async def unit(tx: Transaction) -> None:
        for number in range(MOST + 1):
            await add_model_usage(tx, "ann", 1, f"acme/{number}", (1, 1), 1000, now())

    await cast(Node, app.state.node).database.write(unit)
    names = [name for name, _ in await scrape(app) if name == "mission_llm_cost_micros_total"]
    assert len(names) == MOST + 1


def provider_states(found: Samples) -> dict[str, float]:
    return {
        dict(labels)["state"]: value
        for (name, labels), value in found.items()
        if name == "mission_provider_breaker" and dict(labels)["provider"] == "acme"
    }


async def test_it_counts_followers_and_how_late_events_reach_them(app: Starlette) -> None:
    node = cast(Node, app.state.node)
    before = await scrape(app)
    assert before["mission_subscriptions", ()] == 0
    async with aclosing(node.system.follow(LOCAL, after=0)) as events:
        following = asyncio.ensure_future(anext(events))
        async with asyncio.timeout(30):
            while (await scrape(app))["mission_subscriptions", ()] == 0:
                await asyncio.sleep(0.01)
        await node.governor.quarantine(LOCAL, "flaky", "no")
        assert (await following).type == "breaker.changed"
        found = await scrape(app)
        assert found["mission_event_lag_seconds_count", ()] == 1
        assert 0 <= found["mission_event_lag_seconds_sum", ()] < 30
    assert (await scrape(app))["mission_subscriptions", ()] == 0


async def test_openmetrics_is_given_to_who_asks_for_it(app: Starlette) -> None:
    answer = await client(app).get(
        "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("changed", [{"auth": "tokens"}])
async def test_with_tokens_a_scraper_shows_one(app: Starlette) -> None:
    http = client(app)
    refused = await http.get("/metrics")
    assert refused.status_code == 401
    assert "mission_" not in refused.text
    _, secret = await cast(Node, app.state.node).tokens.create("prometheus")
    allowed = await http.get("/metrics", headers={"Authorization": f"Bearer {secret}"})
    assert (allowed.status_code, "mission_requests_total" in allowed.text) == (200, True)


async def test_two_servers_count_each_for_itself(app: Starlette, tmp_path: Path) -> None:
    await send(app, "hello", "assistant")
    other = create_app(Settings(data=tmp_path / "other", shutdown_seconds=0))
    async with lifespan(other):
        assert (await scrape(other))["mission_turn_seconds_count", ()] == 0
    assert (await scrape(app))["mission_turn_seconds_count", ()] == 1
