"""A server in this process, a client for it, and short ways to call the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette

from mission_system import Mission, OrchestratorSpec, hookimpl
from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.web.app import create_app
from mission_system.web.lifespan import lifespan

Json = dict[str, Any]
B = "/api/v1/chat"


@dataclass
class Held:
    """A capability that runs until a test lets it go on, and one that asks again and again."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0

    async def answer(self, mission: Mission) -> str:
        self.runs += 1
        self.reached.set()
        await self.opened.wait()
        return f"held {mission.message}"

    async def interview(self, mission: Mission) -> str:
        first = await mission.clarify("First?")
        second = await mission.clarify("Second?", options=["a", "b"])
        return f"{first} and {second}"

    def plugin(self) -> ModuleType:
        module = ModuleType("held_plugin")

        @hookimpl
        def register_orchestrators() -> Sequence[OrchestratorSpec]:
            return [
                OrchestratorSpec("held", self.answer),
                OrchestratorSpec("interview", self.interview),
            ]

        module.__dict__["register_orchestrators"] = register_orchestrators
        return module


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def changed() -> Json:
    """Settings that a test overrides."""
    return {}


@pytest.fixture
async def app(tmp_path: Path, held: Held, changed: Json) -> AsyncIterator[Starlette]:
    settings = Settings(**{"data": tmp_path, "shutdown_seconds": 0} | changed)
    app = create_app(settings, [held.plugin()])
    async with lifespan(app):
        yield app
        held.opened.set()


@dataclass(frozen=True)
class Api:
    """Calls the API as Ann."""

    http: httpx.AsyncClient
    node: Node

    async def call(
        self, method: str, path: str, body: object = None, **query: Any
    ) -> httpx.Response:
        query = {"user_id": "ann"} | query
        given: Json = {} if body is None else {"json": body}
        params = {name: value for name, value in query.items() if value is not None}
        return await self.http.request(method, path, params=params, **given)

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.call("GET", path, **query)

    async def session(self, title: str | None = None, user: str = "ann") -> str:
        made = await self.http.post(f"{B}/sessions", json={"user_id": user, "title": title})
        assert made.status_code == 201
        return cast(str, made.json()["session_id"])

    async def send(self, message: str, session: str | None = None, **query: Any) -> Json:
        """The answer of a send that must succeed."""
        body = {"message": message, "session_id": session}
        sent = await self.call("POST", f"{B}/messages", body, **query)
        assert sent.status_code == 200, sent.text
        return cast(Json, sent.json())

    async def messages(self, session: str, **query: Any) -> list[Json]:
        return cast(
            list[Json], (await self.get(f"{B}/sessions/{session}/messages", **query)).json()
        )

    async def sessions(self, **query: Any) -> list[Json]:
        return cast(list[Json], (await self.get(f"{B}/sessions", **query)).json())

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.http.post(f"/api/v1/{path}", json={"user_id": "ann"} | body)


@pytest.fixture
async def api(app: Starlette) -> AsyncIterator[Api]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8000", timeout=30
    ) as http:
        yield Api(http, cast(Node, app.state.node))


def problem(answer: httpx.Response) -> tuple[str, list[Any]]:
    """Type and place of the only thing that a 422 complains of."""
    assert answer.status_code == 422, answer.text
    [found] = answer.json()["detail"]
    assert {"type", "loc", "msg", "input"} <= set(found) <= {"type", "loc", "msg", "input", "ctx"}
    return found["type"], found["loc"]
