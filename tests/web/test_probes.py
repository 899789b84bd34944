"""Any number of probes cost the storage one round of checks a second, and `/health` nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette

from mission_system.core.health import checker, parts
from mission_system.core.health.database import PROBE
from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.web.app import create_app
from mission_system.web.lifespan import lifespan

PROBES = 1000
TOGETHER = 50
SCHEMA = "SELECT name FROM tortoise_migrations WHERE app = ?"
OF_PROBES: tuple[object, ...] = (PROBE, SCHEMA, parts._nothing)
"""What one round of checks asks the storage; other work asks for other things."""


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Starlette]:
    app = create_app(Settings(data=tmp_path, shutdown_seconds=0))
    async with lifespan(app):
        yield app


@pytest.fixture
def asked(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> Counter[object]:
    """How often the storage is asked for what: SQL, and units."""
    database, asked = cast(Node, app.state.node).database, Counter[object]()

    def noting(real: Callable[..., Any]) -> Callable[..., Any]:
        async def call(what: object, *given: Any) -> Any:
            asked[what] += 1
            return await real(what, *given)

        return call

    for name in ("fetch_one", "fetch_all", "write"):
        monkeypatch.setattr(database, name, noting(getattr(database, name)))
    return asked


async def probe(app: Starlette, path: str, times: int) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for _ in range(-(-times // TOGETHER)):
            answers = await asyncio.gather(*(client.get(path) for _ in range(min(times, TOGETHER))))
            assert {answer.status_code for answer in answers} == {200}


async def test_a_thousand_probes_ask_the_storage_as_often_as_one(
    app: Starlette, asked: Counter[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checker, "FRESH_SECONDS", 3600.0)  # however slow this machine is
    await probe(app, "/ready", 1)
    once = {each: asked[each] for each in OF_PROBES}
    assert set(once.values()) <= {0, 1}
    cast(Node, app.state.node).health._fresh_until = 0.0
    await probe(app, "/ready", PROBES)
    assert {each: asked[each] - once[each] for each in OF_PROBES} == dict.fromkeys(OF_PROBES, 1)


async def test_liveness_asks_the_storage_nothing(app: Starlette, asked: Counter[object]) -> None:
    await probe(app, "/health", PROBES)
    assert {each: asked[each] for each in OF_PROBES} == dict.fromkeys(OF_PROBES, 0)
