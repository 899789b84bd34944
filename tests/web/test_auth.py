"""Who a connection is taken for, without authentication and with tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from mission_system.core.errors import Forbidden, InvalidInput
from mission_system.core.identity import LOCAL, Caller
from mission_system.core.node import Node
from mission_system.core.settings import Settings
from mission_system.core.tokens.service import TokenService
from mission_system.web import auth
from mission_system.web.app import create_app
from mission_system.web.auth import Authenticator, Unauthenticated
from mission_system.web.guard import refuse_unsafe
from mission_system.web.lifespan import lifespan

VIEWER = {"query": "{ viewer { userId role } }"}


def connection(*users: bytes, token: str | None = None) -> HTTPConnection:
    headers = [(b"x-mission-user", user) for user in users]
    if token is not None:
        headers.append((b"authorization", token.encode()))
    return HTTPConnection({"type": "http", "headers": headers})


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Starlette]:
    app = create_app(Settings(data=tmp_path, auth="tokens", shutdown_seconds=0), [])
    async with lifespan(app):
        yield app


@pytest.fixture
def node(app: Starlette) -> Node:
    node: Node = app.state.node
    return node


@pytest.fixture
def tokens(node: Node) -> TokenService:
    return node.tokens


@pytest.fixture
def door(app: Starlette) -> Authenticator:
    door: Authenticator = app.state.auth
    return door


@pytest.fixture
def open_door(node: Node) -> Authenticator:
    return Authenticator(Settings(), node.tokens)


# without authentication


async def test_without_the_header_it_is_the_local_admin(open_door: Authenticator) -> None:
    assert await open_door.caller(connection()) == LOCAL
    assert await open_door.caller(connection(b"local")) == LOCAL


@pytest.mark.parametrize("name", ["alice", "a b", "Zoë", "用户", "x" * 255, "ü" * 255])
async def test_the_header_names_the_user(open_door: Authenticator, name: str) -> None:
    assert await open_door.caller(connection(name.encode())) == Caller(name, "user")


@pytest.mark.parametrize("raw", [b"", b"x" * 256, b"\xff\xfe"])
async def test_a_header_that_names_nobody_is_invalid(open_door: Authenticator, raw: bytes) -> None:
    with pytest.raises(InvalidInput) as error:
        await open_door.caller(connection(raw))
    assert error.value.field == "X-Mission-User"


# with tokens


async def test_a_token_says_who_calls(tokens: TokenService, door: Authenticator) -> None:
    _, ann = await tokens.create("ann")
    _, root = await tokens.create("root", role="admin")
    assert await door.caller(connection(token=f"Bearer {ann}")) == Caller("ann", "user")
    assert await door.caller(connection(token=f"bearer  {ann} ")) == Caller("ann", "user")
    assert await door.caller(connection(token=f"Bearer {root}")) == Caller("root", "admin")
    assert await door.caller(connection(), root) == Caller("root", "admin")


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer ", "Bearer x", "Basic {}", "{}"])
async def test_what_is_no_valid_token_is_refused(
    tokens: TokenService, door: Authenticator, value: str | None
) -> None:
    _, ann = await tokens.create("ann")
    with pytest.raises(Unauthenticated):
        await door.caller(connection(token=None if value is None else value.replace("{}", ann)))


async def test_only_a_service_may_name_its_user(tokens: TokenService, door: Authenticator) -> None:
    _, ann = await tokens.create("ann")
    _, root = await tokens.create("root", role="admin")
    _, shop = await tokens.create("shop", role="service")
    assert await door.caller(connection(b"ann", token=f"Bearer {ann}")) == Caller("ann")
    acting = await door.caller(connection(b"eve", token=f"Bearer {shop}"))
    assert acting == Caller("eve", "service")
    for secret in (ann, root):
        with pytest.raises(Forbidden):
            await door.caller(connection(b"eve", token=f"Bearer {secret}"))


async def test_http_answers_401_without_a_token_and_403_for_anothers_name(
    app: Starlette, tokens: TokenService
) -> None:
    _, ann = await tokens.create("ann")
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://public.example") as client:
        refused = await client.post("/graphql", json=VIEWER)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        headers = {"Authorization": f"Bearer {ann}"}
        known = await client.post("/graphql", json=VIEWER, headers=headers)
        assert known.json()["data"]["viewer"] == {"userId": "ann", "role": "USER"}
        headers["X-Mission-User"] = "eve"
        assert (await client.post("/graphql", json=VIEWER, headers=headers)).status_code == 403
        assert (await client.get("/health")).status_code == 200


def test_a_server_that_asks_for_tokens_may_be_reached_from_elsewhere() -> None:
    refuse_unsafe(Settings(host="0.0.0.0", auth="tokens"))


# while a connection is open


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "RECHECK_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_connection_ends_when_its_token_is_revoked(
    tokens: TokenService, door: Authenticator
) -> None:
    token, secret = await tokens.create("ann")
    began = asyncio.Event()

    async def connected() -> None:
        async with door.while_valid(lambda: secret):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(connected())
    await began.wait()
    await tokens.revoke(token.id)
    with pytest.raises(auth.TokenLost):
        await asyncio.wait_for(task, 10)


@pytest.mark.usefixtures("impatient")
async def test_a_timeout_of_the_connection_itself_is_not_taken_for_a_lost_token(
    tokens: TokenService, door: Authenticator
) -> None:
    _, secret = await tokens.create("ann")
    with pytest.raises(TimeoutError):
        async with door.while_valid(lambda: secret):
            raise TimeoutError
