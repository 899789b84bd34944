"""What is refused before any operation is read: an error with a code, in the form asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx
import pytest
from starlette.applications import Starlette

from mission_system.core.errors import Unavailable
from mission_system.core.settings import Settings
from mission_system.web.app import create_app
from mission_system.web.lifespan import lifespan
from mission_system.web.state import Phase

from .conftest import JSON, RESPONSE, Gate

LIMIT = 2048
BODY = b'{"query": "{ viewer { userId } }"}'
TOKEN = {"Authorization": "Bearer unknown"}


@dataclass(frozen=True)
class Ask:
    """A request, or a server, with something wrong."""

    status: int
    code: str
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    content: Callable[[], AsyncIterator[bytes]] | bytes = BODY
    machine: str = "127.0.0.1"
    phase: Phase = "serving"
    auth: Literal["none", "tokens"] = "none"
    raised: Exception | None = None


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(4):
        yield b" " * 1024


ASKED = {
    "starting": Ask(503, "UNAVAILABLE", phase="starting"),
    "standby": Ask(503, "UNAVAILABLE", phase="standby"),
    "storage": Ask(503, "UNAVAILABLE", TOKEN, raised=Unavailable("the database is away")),
    "defect": Ask(500, "INTERNAL", raised=RuntimeError("secret")),
    "machine": Ask(403, "FORBIDDEN", machine="203.0.113.7"),
    "host": Ask(403, "FORBIDDEN", {"Host": "evil.example"}),
    "origin": Ask(403, "FORBIDDEN", {"Origin": "https://evil.example"}),
    "embedded": Ask(403, "FORBIDDEN", {"Sec-Fetch-Site": "cross-site"}),
    "large": Ask(413, "TOO_LARGE", content=b" " * LIMIT * 2),
    "large, in pieces": Ask(413, "TOO_LARGE", content=pieces),
    "no token": Ask(401, "UNAUTHENTICATED", auth="tokens"),
    "wrong token": Ask(401, "UNAUTHENTICATED", TOKEN, auth="tokens"),
    "no name": Ask(400, "INVALID_INPUT", {"X-Mission-User": ""}),
    "form": Ask(415, "INVALID_REQUEST", {"Content-Type": "text/plain"}),
    "malformed": Ask(400, "INVALID_REQUEST", content=b"{"),
    "method": Ask(405, "INVALID_REQUEST", method="PUT"),
    "link": Ask(403, "INVALID_REQUEST", {"Content-Type": ""}, method="GET"),
}


def client(app: Starlette, accept: str, machine: str = "127.0.0.1") -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=(machine, 5000)),
        base_url="http://127.0.0.1:8000",
        headers={"Accept": accept, "Content-Type": JSON},
        timeout=20,
    )


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("accept", [JSON, RESPONSE])
async def test_it_is_an_error_with_a_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask, accept: str
) -> None:
    app = create_app(Settings(data=tmp_path, max_body_bytes=LIMIT, auth=ask.auth))

    async def raises(*_: object) -> None:
        assert ask.raised
        raise ask.raised

    async with lifespan(app), client(app, accept, ask.machine) as http:
        app.state.phase = ask.phase
        if ask.raised:
            monkeypatch.setattr(app.state.auth, "caller", raises)
        content = ask.content if isinstance(ask.content, bytes) else ask.content()
        answer = await http.request(ask.method, "/graphql", content=content, headers=ask.headers)
        app.state.phase = "serving"
    assert answer.status_code == ask.status
    assert answer.headers["content-type"] == f"{accept}; charset=utf-8"
    assert list(answer.json()) == ["errors"]
    [error] = answer.json()["errors"]
    assert error["message"]
    assert "secret" not in error["message"]
    assert error["extensions"]["code"] == ask.code
    if ask.status == 500:
        assert error["extensions"]["incident"] == answer.headers["x-request-id"]
    assert ("retry-after" in answer.headers) is (ask.phase != "serving")


@pytest.mark.parametrize("accept", [JSON, RESPONSE])
async def test_so_is_what_a_shutdown_cuts_short(tmp_path: Path, gate: Gate, accept: str) -> None:
    app = create_app(Settings(data=tmp_path, shutdown_seconds=0), [gate.plugin()])
    query = 'mutation { sendMessage(input: {text: "go", capability: "gate"}) { __typename } }'
    async with lifespan(app), client(app, accept) as http:
        asked = asyncio.create_task(http.post("/graphql", json={"query": query}))
        async with asyncio.timeout(20):
            await gate.entered.wait()
        app.state.phase = "draining"
        asked.cancel()
        answer = await asked
    assert answer.status_code == 503
    assert answer.headers["content-type"] == f"{accept}; charset=utf-8"
    [error] = answer.json()["errors"]
    assert error["extensions"] == {"code": "UNAVAILABLE"}
